//! One attempt of a check. How long it may take is the machine's affair: an attempt that takes longer is dropped.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wayleave_discovery::health::{CheckKind, Outcome};

use crate::text::{io_reason, printable};

/// The most octets of a response's head; a service with a larger one is not healthy for a check.
const LARGEST_HEAD: usize = 16 << 10;

/// Finds out once.
pub(super) async fn run(address: IpAddr, kind: &CheckKind) -> Outcome {
    let found = match kind {
        CheckKind::Tcp { port } => connect(address, *port).await.map(drop),
        CheckKind::Http {
            port,
            path,
            host,
            status,
        } => http(address, *port, path, host.as_deref(), *status).await,
    };
    match found {
        Ok(()) => Outcome::Pass,
        Err(why) => Outcome::Fail(why),
    }
}

async fn connect(address: IpAddr, port: u16) -> Result<TcpStream, String> {
    let target = SocketAddr::new(address, port);
    TcpStream::connect(target)
        .await
        .map_err(|error| format!("no TCP connection to {target}: {}", io_reason(&error)))
}

async fn http(
    address: IpAddr,
    port: u16,
    path: &str,
    host: Option<&str>,
    (first, last): (u16, u16),
) -> Result<(), String> {
    let target = SocketAddr::new(address, port);
    let stream = connect(address, port).await?;
    let failed = |error: &dyn std::fmt::Display| {
        format!(
            "GET {path} of {target} failed: {}",
            printable(&error.to_string())
        )
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let request = Request::get(path)
        .header(
            header::HOST,
            host.map_or_else(|| target.to_string(), str::to_owned),
        )
        .header(
            header::USER_AGENT,
            concat!("wayleave/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| failed(&error))?;
    let mut answered = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut answered => response,
        // The connection has ended, whether with an answer or without: either is known now.
        _ = connection => answered.await,
    };
    let status = response.map_err(|error| failed(&error))?.status().as_u16();
    if (first..=last).contains(&status) {
        Ok(())
    } else {
        Err(format!(
            "GET {path} of {target} was answered with {status}, wanted {first} to {last}"
        ))
    }
}
