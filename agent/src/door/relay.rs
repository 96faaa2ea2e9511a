//! Bytes both ways between a caller and its copy, until one of them ends it or the copy moves.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::opener::Io;
use super::websocket::{CLOSE_1012, Frames};

/// What is read at a time: little where little comes, more where more does. A connection that idles costs the least.
const BUFFER_MIN: usize = 8 << 10;
const BUFFER_MAX: usize = 256 << 10;
/// How long a WebSocket's current frame may take to end, and how long its client has to answer the Close.
const PATIENCE: Duration = Duration::from_secs(1);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The caller ended it, or both did in their time.
    Caller,
    /// The copy ended it, or was lost.
    Copy,
    /// The copy moved.
    Moved,
}

/// Carries any bytes. `moved` ends when the copy has handed over.
pub(crate) async fn bytes(caller: impl Io, copy: impl Io, moved: impl Future<Output = ()>) -> End {
    let (mut caller_read, mut caller_write) = tokio::io::split(caller);
    let (mut copy_read, mut copy_write) = tokio::io::split(copy);
    let up = one_way(&mut caller_read, &mut copy_write);
    let down = one_way(&mut copy_read, &mut caller_write);
    tokio::pin!(up, down, moved);
    let (mut up_ended, mut down_ended) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = &mut moved => return End::Moved,
            result = &mut down, if !down_ended => match result {
                // A side that sends no more may still listen.
                Ok(()) if up_ended => return End::Caller,
                Ok(()) => down_ended = true,
                Err(Broken::Reader) => return End::Copy,
                Err(Broken::Writer) => return End::Caller,
            },
            result = &mut up, if !up_ended => match result {
                Ok(()) if down_ended => return End::Copy,
                Ok(()) => up_ended = true,
                Err(Broken::Reader) => return End::Caller,
                Err(Broken::Writer) => return End::Copy,
            },
        }
    }
}

/// Carries a WebSocket. When its copy moves, or ends without a word while `is_moving`, the caller gets a Close between
/// two frames.
pub(crate) async fn websocket(
    caller: impl Io,
    copy: impl Io,
    moved: impl Future<Output = ()>,
    is_moving: impl Fn() -> bool,
) -> End {
    let (mut caller_read, mut caller_write) = tokio::io::split(caller);
    let (mut copy_read, mut copy_write) = tokio::io::split(copy);
    let mut frames = Frames::default();
    let end = {
        let up = one_way(&mut caller_read, &mut copy_write);
        let down = frames_down(&mut copy_read, &mut caller_write, &mut frames, moved);
        tokio::pin!(up, down);
        let (mut up_ended, mut caller_ended) = (false, false);
        loop {
            tokio::select! {
                biased;
                end = &mut down => break if caller_ended { End::Caller } else { end },
                result = &mut up, if !up_ended => match result {
                    // The copy learnt of it: it has its say, then it is over.
                    Ok(()) => (up_ended, caller_ended) = (true, true),
                    Err(Broken::Reader) => break End::Caller,
                    // What it still says is in `down`.
                    Err(Broken::Writer) => up_ended = true,
                },
            }
        }
    };
    let silent = end == End::Moved || end == End::Copy && is_moving();
    if silent && !frames.closed() && frames.between() {
        let goodbye = async {
            caller_write.write_all(&CLOSE_1012).await?;
            caller_write.flush().await?;
            let mut rest = [0; 512];
            while caller_read.read(&mut rest).await? > 0 {}
            caller_write.shutdown().await
        };
        let _ = tokio::time::timeout(PATIENCE, goodbye).await;
    } else {
        let _ = tokio::time::timeout(PATIENCE, caller_write.shutdown()).await;
    }
    end
}

/// From copy to caller, until the copy ends or has moved and a frame has ended.
async fn frames_down(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    frames: &mut Frames,
    moved: impl Future<Output = ()>,
) -> End {
    tokio::pin!(moved);
    let mut buffer = vec![0; BUFFER_MIN];
    let mut leaving: Option<tokio::time::Instant> = None;
    loop {
        if leaving.is_some() && frames.between() {
            return End::Moved;
        }
        let late = leaving.unwrap_or_else(tokio::time::Instant::now);
        let got = tokio::select! {
            biased;
            () = &mut moved, if leaving.is_none() => {
                leaving = Some(tokio::time::Instant::now() + PATIENCE);
                continue;
            }
            () = tokio::time::sleep_until(late), if leaving.is_some() => return End::Moved,
            got = from.read(&mut buffer) => got,
        };
        let Ok(got @ 1..) = got else { return End::Copy };
        // Once it leaves: up to the end of a frame and not a byte further.
        let send = frames.follow(&buffer[..got]).filter(|_| leaving.is_some()).unwrap_or(got);
        if send < got {
            frames.end_here();
        }
        if to.write_all(&buffer[..send]).await.is_err() || to.flush().await.is_err() {
            return End::Caller;
        }
        resize(&mut buffer, got);
    }
}

/// Who broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Reader,
    Writer,
}

/// Carries bytes until the reader ends, which the writer is then told.
async fn one_way(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Broken> {
    let mut buffer = vec![0; BUFFER_MIN];
    loop {
        let got = from.read(&mut buffer).await.map_err(|_: io::Error| Broken::Reader)?;
        if got == 0 {
            return to.shutdown().await.map_err(|_| Broken::Writer);
        }
        to.write_all(&buffer[..got]).await.map_err(|_| Broken::Writer)?;
        to.flush().await.map_err(|_| Broken::Writer)?;
        resize(&mut buffer, got);
    }
}

/// A buffer that was full doubles, one that was hardly used halves.
fn resize(buffer: &mut Vec<u8>, got: usize) {
    if got == buffer.len() && got < BUFFER_MAX {
        buffer.resize(got * 2, 0);
    } else if got < buffer.len() / 8 && buffer.len() > BUFFER_MIN {
        buffer.truncate(buffer.len() / 2);
        buffer.shrink_to_fit();
    }
}
