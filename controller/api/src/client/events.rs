//! The stream of events: server-sent events, resumed by the last id after a loss of the connection.

use std::collections::VecDeque;
use std::time::Duration;

use super::transport::Transport;
use super::{Client, ClientError};
use crate::event::Event;

/// The controller says something at least each 15 s; silence for longer than this means it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Longest line of a stream.
const LINE_MAX: usize = 1 << 20;

/// What a stream of events says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// Something has changed.
    Event(Event),
    /// Events between the last one and now are gone: read anew whatever was followed.
    Reset,
}

/// Events as they happen.
#[derive(Debug)]
pub struct EventStream<'c> {
    client: &'c Client,
    last: u64,
    open: Option<reqwest::Response>,
    parser: Parser,
}

impl<'c> EventStream<'c> {
    pub(super) fn new(client: &'c Client, after: u64) -> Self {
        Self { client, last: after, open: None, parser: Parser::default() }
    }

    /// The next one. A lost connection is made anew without loss; an error means that this failed as well.
    ///
    /// # Errors
    /// The controller cannot be reached any more, refuses, or says what cannot be understood.
    pub async fn next(&mut self) -> Result<Feed, ClientError> {
        let transport = self.client.transport();
        // Ends: each turn either returns, consumes input, or makes a connection, which has its own limit of tries.
        loop {
            if let Some(feed) = self.parser.take(transport)? {
                if let Feed::Event(event) = &feed {
                    self.last = event.id;
                }
                return Ok(feed);
            }
            let Some(response) = &mut self.open else {
                self.parser = Parser::default();
                self.open = Some(self.client.event_connection(self.last).await?);
                continue;
            };
            match tokio::time::timeout(SILENCE_MAX, transport.piece(response)).await {
                Ok(Ok(Some(piece))) => self.parser.feed(&piece, transport)?,
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.open = None;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

/// Splits a stream into messages.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
    done: VecDeque<(String, String)>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], transport: &Transport) -> Result<(), ClientError> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.end_of_line(String::from_utf8_lossy(&line).trim_end_matches('\r'));
                }
                _ if self.line.len() >= LINE_MAX => {
                    return Err(transport.decode("a line of the event stream is too long"));
                }
                _ => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &str) {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            if !data.is_empty() || name == "reset" {
                self.done.push_back((name, data));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" if self.data.len() + value.len() <= LINE_MAX => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments keep the connection alive; the id is in the event itself.
            _ => {}
        }
    }

    fn take(&mut self, transport: &Transport) -> Result<Option<Feed>, ClientError> {
        let Some((name, data)) = self.done.pop_front() else { return Ok(None) };
        if name == "reset" {
            return Ok(Some(Feed::Reset));
        }
        serde_json::from_str(&data).map(|e| Some(Feed::Event(e))).map_err(|e| transport.decode(&e.to_string()))
    }
}
