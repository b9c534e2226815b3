//! Taking connections.

use std::{rc::Rc, time::Duration};

use tokio::net::TcpListener;

use crate::{connection, driver::Driver};

/// Pause after an error such as "too many open files": it would be the same at once.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(driver: Rc<Driver>, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let driver = Rc::clone(&driver);
                tokio::task::spawn_local(async move {
                    if let Err(error) = connection::accept(driver, stream).await {
                        tracing::warn!(%remote, %error, "a BGP connection was lost at once");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a BGP connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
