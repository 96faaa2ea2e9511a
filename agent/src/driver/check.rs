//! Asking a running program whether it is well.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::platform::{ProcessHandle, kill_group};

/// Bytes of an HTTP answer in which the status line must end.
const STATUS_LINE_MAX: usize = 1_024;

/// Bytes of an answer that are read and thrown away before the connection is closed on it.
const REST_MAX: usize = 64 << 10;

/// Whether something accepts connections.
pub(super) async fn tcp(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
}

/// Whether `GET path` is answered by 2xx or 3xx. Only the status line counts; the rest is read so that the program does
/// not find its answer cut off.
pub(super) async fn http(port: u16, path: &str) -> bool {
    // A path with a line break would smuggle a second request.
    if !path.starts_with('/') || path.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut line = Vec::with_capacity(64);
    while !line.contains(&b'\n') && line.len() < STATUS_LINE_MAX {
        match stream.read_buf(&mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    let mut rest = [0; 4_096];
    for _ in 0..REST_MAX / rest.len() {
        if !matches!(stream.read(&mut rest).await, Ok(1..)) {
            break;
        }
    }
    is_good(&line)
}

/// Whether an answer starts with a good status line.
fn is_good(answer: &[u8]) -> bool {
    let Some(rest) = answer.strip_prefix(b"HTTP/1.") else { return false };
    let Some(rest) = rest.split_first().and_then(|(_, rest)| rest.strip_prefix(b" ")) else { return false };
    matches!(rest, [b'2' | b'3', b'0'..=b'9', b'0'..=b'9', b' ' | b'\r' | b'\n', ..])
}

/// Whether a program exits 0. It and whatever it started in its group are killed after the try, and when the future
/// is dropped.
pub(super) async fn exec(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let Ok(child) = command.spawn() else { return false };
    let handle = ProcessHandle::of(child.id());
    let mut group = EndedOnDrop(Some(child));
    if let Some(handle) = handle {
        handle.ended().await;
    }
    group.end().is_some_and(|status| status.success())
}

/// A health check that outlives its try would pile up. The child is there until its group is ended, once.
struct EndedOnDrop(Option<Child>);

impl EndedOnDrop {
    fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.0.take()?;
        kill_group(&child);
        child.wait().ok()
    }
}

impl Drop for EndedOnDrop {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_status_lines_count() {
        for good in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 204 \r\n", "HTTP/1.1 302 Found\n", "HTTP/1.1 200\r\n"] {
            assert!(is_good(good.as_bytes()), "{good:?}");
        }
        for bad in ["", "HTTP/1.1 500 No\r\n", "HTTP/1.1 404 \r\n", "HTTP/2 200 \r\n", "HTTP/1.1 2000 \r\n", "HTTP/1."]
        {
            assert!(!is_good(bad.as_bytes()), "{bad:?}");
        }
    }
}
