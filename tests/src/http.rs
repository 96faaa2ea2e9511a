//! The user of a service: one HTTP/1.1 request on a connection of its own, with nothing in between.

use std::time::Duration;

use anyhow::{Context, ensure};
use chandler_harness::wait::eventually_ok;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for one request.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Longest answer.
const ANSWER_MAX: u64 = 16 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// `GET http://HOST:PORT/PATH`.
///
/// # Errors
/// Nobody answers, or not in HTTP.
pub async fn get(url: &str) -> anyhow::Result<Answer> {
    request("GET", url, "").await
}

/// `POST`s a text.
///
/// # Errors
/// Nobody answers, or not in HTTP.
pub async fn post(url: &str, body: &str) -> anyhow::Result<Answer> {
    request("POST", url, body).await
}

/// The body of a `GET` that is answered with status 200, which may take a while to come true.
///
/// # Errors
/// It does not within `within`.
pub async fn body_of(url: &str, within: Duration) -> anyhow::Result<String> {
    let what = format!("{url} to answer");
    let answer = eventually_ok(&what, within, || async {
        let answer = get(url).await?;
        ensure!(answer.status == 200, "it answers {}", answer.status);
        Ok::<_, anyhow::Error>(answer.body)
    });
    Ok(answer.await?)
}

async fn request(method: &str, url: &str, body: &str) -> anyhow::Result<Answer> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = body.len();
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut bytes).await?;
        let text = String::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the answer has no status")?;
        anyhow::Ok(Answer { status, body: body.to_owned() })
    };
    timeout(REQUEST_MAX, talk).await.with_context(|| format!("{url} does not answer"))?
}
