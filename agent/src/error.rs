//! Why the agent ends, each with its stable code and exit status.

use crate::disk::DiskError;

/// Why the agent could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The text given is not a join string.
    #[error("error[E0210]: {0}")]
    NotAJoinString(String),
    /// No controller answered within the time a first join may take.
    #[error("error[E0211]: cannot reach the controller\n  cause: {0}\n  fix:   start it, or let UDP to it through")]
    Unreachable(String),
    /// What answered is not the controller that the join string names.
    #[error(
        "error[E0212]: {0} is not the controller of this join string\n  fix:   ask for a new join string, or find out who answers there"
    )]
    WrongCa(String),
    /// The controller refused; code and sentence are its own.
    #[error("error[{code}]: {message}")]
    Refused {
        /// The controller's stable code.
        code: String,
        /// The controller's sentence.
        message: String,
    },
    /// Neither joined nor told where to join.
    #[error(
        "error[E0213]: this computer has not joined a controller\n  fix:   chandler-agent run --join STRING, from `chandler join-token create`"
    )]
    NotJoined,
    /// Another agent uses the data directory.
    #[error("error[E0214]: another agent runs with the data directory {0}")]
    Locked(String),
    /// A setting is wrong.
    #[error("error[E0215]: {0}")]
    Setting(String),
    /// The data directory cannot be used.
    #[error("error[E0216]: {0}")]
    DataDir(String),
    /// What is kept on disk cannot be read or written.
    #[error("error[E0217]: {0}")]
    Disk(#[from] DiskError),
    /// Key or certificate cannot be used.
    #[error("error[E0218]: {0}")]
    Identity(String),
    /// A part of the agent ended that never should; the service manager starts the agent again.
    #[error("error[E0219]: the agent's {0} ended unexpectedly")]
    Ended(String),
}

impl AgentError {
    /// The exit status that the command line documents.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAJoinString(_) | Self::NotJoined | Self::Setting(_) => 2,
            Self::Refused { .. } | Self::WrongCa(_) => 4,
            Self::Locked(_) => 6,
            Self::Unreachable(_) => 9,
            Self::DataDir(_) | Self::Disk(_) | Self::Identity(_) | Self::Ended(_) => 1,
        }
    }
}
