//! What is uploaded: bytes in memory, or a file that is read while it is sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::ClientError;

/// Bytes read from a file at a time.
const PIECE: usize = 256 << 10;

/// Is told how many bytes were handed to the network so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// The body of an upload. It can be sent again from its start.
#[derive(Clone)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file, which must not change while it is sent.
    File {
        /// Where it is.
        path: PathBuf,
        /// Is told how far it is.
        progress: Option<Progress>,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(b) => write!(f, "Bytes({})", b.len()),
            Self::File { path, .. } => write!(f, "File({})", path.display()),
        }
    }
}

impl Content {
    /// A file without progress.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), progress: None }
    }

    /// The body and its length.
    pub(super) async fn body(&self) -> Result<(reqwest::Body, u64), ClientError> {
        match self {
            Self::Bytes(b) => Ok((b.clone().into(), b.len() as u64)),
            Self::File { path, progress } => {
                let cannot = |e: std::io::Error| ClientError::Local(format!("cannot read {}: {e}", path.display()));
                let file = tokio::fs::File::open(path).await.map_err(cannot)?;
                let length = file.metadata().await.map_err(cannot)?.len();
                Ok((reqwest::Body::wrap_stream(pieces(file, progress.clone())), length))
            }
        }
    }
}

/// The content of a file, piece by piece; progress counts what was taken by the network.
fn pieces(
    file: tokio::fs::File,
    progress: Option<Progress>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    futures_util::stream::try_unfold((file, 0_u64), move |(mut file, sent)| {
        let progress = progress.clone();
        async move {
            if let Some(tell) = &progress {
                tell(sent);
            }
            let mut piece = bytes::BytesMut::with_capacity(PIECE);
            let n = file.read_buf(&mut piece).await?;
            Ok(if n == 0 { None } else { Some((piece.freeze(), (file, sent + n as u64))) })
        }
    })
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
