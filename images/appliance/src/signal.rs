//! Ctrl-C and SIGTERM, as a value to wait for.

use tokio::sync::watch;

/// Resolves at the first interrupt.
pub async fn interrupted() {
    let ctrl_c = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = ctrl_c => {}
                _ = terminate.recv() => {}
            }
        }
        // Without a SIGTERM handler Ctrl-C still works.
        Err(_) => {
            let _ = ctrl_c.await;
        }
    }
}

/// A flag that turns true at the first interrupt.
pub fn stopped() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        stop.send_replace(true);
        // A dropped sender would read as an error to whoever waits.
        stop.closed().await;
    });
    stopped
}
