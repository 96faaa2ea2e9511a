//! Why a state cannot be given or received, each with its stable code.

use std::io;

use chandler_protocol::text::clean;

/// Longest path shown to people, in characters.
const SHOWN: usize = 160;

/// Why a tree could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It holds what is not taken along.
    #[error("error[E0701]: {path:?} {why}")]
    Refused {
        /// Where, made safe to show.
        path: String,
        /// A sentence's end.
        why: String,
    },
    /// The file system refused.
    #[error("error[E0702]: {path:?}: {why}")]
    Io {
        /// Where, made safe to show.
        path: String,
        /// What the operating system said.
        why: String,
    },
    /// Something still writes to what was given up.
    #[error("error[E0703]: something still writes to {path:?}; everything that uses the state must have ended")]
    Changing {
        /// Where, made safe to show.
        path: String,
    },
    /// A newer wish came in between.
    #[error("error[E0704]: it was told otherwise meanwhile")]
    Superseded,
}

/// Why a stream of state ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The peer is gone, or silent for too long.
    #[error("the receiver is gone: {0}")]
    Gone(String),
    /// The peer asks what makes no sense.
    #[error("error[E0705]: the receiver asks what makes no sense: {0}")]
    Asked(&'static str),
    /// The state is handed over in another attempt.
    #[error("error[E0706]: the state is handed over in attempt {now}, not {asked}")]
    Attempt {
        /// What the receiver takes part in.
        asked: u64,
        /// What goes on.
        now: u64,
    },
    /// The tree cannot be given.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Why a state was not received. What is here stays, and a later run goes on from it; the source is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No answer, or the stream broke: try again.
    #[error("error[E0710]: the source cannot be reached: {0}")]
    Unreachable(String),
    /// The source says no: another attempt goes on, or it cannot read its own state. Trying again may help.
    #[error("error[E0711]: the source refuses: {0}")]
    SourceRefuses(String),
    /// The tree holds what is not taken, or the source does not keep to the rules. Trying again does not help.
    #[error("error[E0712]: {path:?} {why}")]
    Refused {
        /// Where, made safe to show; empty when it is no single place.
        path: String,
        /// A sentence's end.
        why: String,
    },
    /// No room here.
    #[error("error[E0713]: no space for the state on {path}")]
    DiskFull {
        /// The directory.
        path: String,
    },
    /// What arrived is not what was promised, also after it was fetched again.
    #[error("error[E0714]: {path:?} arrives damaged, also when it is fetched again")]
    Damaged {
        /// Where, made safe to show.
        path: String,
    },
    /// The whole is not what the source measured.
    #[error("error[E0715]: the state that arrived is not the one that was sealed")]
    Differs,
    /// The file system here refused.
    #[error("error[E0716]: {path:?}: {why}")]
    Io {
        /// Where, made safe to show.
        path: String,
        /// What the operating system said.
        why: String,
    },
}

impl ReceiveError {
    /// Whether the same order may succeed later without anyone doing something about it.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::SourceRefuses(_) | Self::Differs | Self::Damaged { .. })
    }

    /// A refusal.
    pub(super) fn refused(path: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), why: why.into() }
    }

    /// What the file system said about a path of the tree below `root`.
    pub(super) fn io(root: &std::path::Path, path: &[u8], error: &io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull { path: root.display().to_string() };
        }
        Self::Io { path: shown(path), why: error.to_string() }
    }
}

impl From<TreeError> for ReceiveError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Refused { path, why } => Self::Refused { path, why },
            TreeError::Io { path, why } => Self::Io { path, why },
            TreeError::Changing { path } => {
                Self::Io { path, why: "something else writes to what is being received".into() }
            }
            TreeError::Superseded => Self::SourceRefuses(error.to_string()),
        }
    }
}

impl TreeError {
    /// A refusal.
    pub(super) fn refused(path: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { path: shown(path), why: why.into() }
    }

    /// What the file system said.
    pub(super) fn io(path: &[u8], error: impl Into<io::Error>) -> Self {
        let error = error.into();
        match error.kind() {
            // RESOLVE_NO_XDEV.
            io::ErrorKind::CrossesDevices => {
                Self::refused(path, "is another file system mounted in the state directory")
            }
            _ => Self::Io { path: shown(path), why: error.to_string() },
        }
    }
}

/// A path of a tree, made safe to show.
pub(super) fn shown(path: &[u8]) -> String {
    clean(&String::from_utf8_lossy(path), SHOWN)
}
