//! A responder inside a namespace, which tells every client who answered and whom it saw.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::error::LabError;
use crate::host::Host;
use crate::http;

const PATIENCE: Duration = Duration::from_secs(2);

/// What a responder told its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The name of the namespace that answered.
    pub by: String,
    /// The client's address as the responder saw it: no NAT on the way means it is the client's.
    pub source: IpAddr,
}

/// A running responder; the port closes when this is dropped.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Answers HTTP (and thereby TCP) on a port, IPv4 and IPv6, until the responder is dropped.
    pub fn serve(&self, port: u16) -> Result<Responder, LabError> {
        let refused = |e| LabError::system(format!("listen on port {port} of {}", self.name()), e);
        let listener = self
            .enter(|| {
                let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            })?
            .map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (name, stopped) = (self.name().to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that breaks off is the client's test to fail.
                    Ok((stream, client)) => drop(answer(stream, client, &name)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Responder {
            stop,
            thread: Some(thread),
        })
    }

    /// Fetches from a responder over TCP.
    pub fn fetch(&self, address: IpAddr, port: u16) -> Result<Served, LabError> {
        let to = SocketAddr::new(address, port);
        let what = format!("connect {} to {to}", self.name());
        let stream = self
            .enter(|| {
                let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                io::Result::Ok(stream)
            })?
            .map_err(|e| LabError::system(what.clone(), e))?;
        let answer = http::get_json(stream, "/")?;
        let by = answer["by"].as_str();
        let source = answer["source"].as_str().and_then(|s| s.parse().ok());
        match (by, source) {
            (Some(by), Some(source)) => Ok(Served {
                by: by.to_owned(),
                source,
            }),
            _ => Err(LabError::shape(
                what,
                format!("not a responder of the lab: {answer}"),
            )),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, client: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // To the end of the request's head: closing with unread bytes would reset the connection.
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = json!({ "by": name, "source": client.ip().to_canonical() }).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
