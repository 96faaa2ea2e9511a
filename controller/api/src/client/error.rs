//! What can go wrong between a program and the controller, and how that is told to people.

use crate::problem::{INTERNAL, INVALID, Problem, UNREACHABLE};

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The controller answered with an error.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// There was no answer.
    #[error("{url} {cause}")]
    Unreachable {
        /// Address and port that were tried.
        url: String,
        /// What happened, with the number of tries.
        cause: String,
    },
    /// There was an answer that cannot be understood.
    #[error("cannot understand the answer of {url}: {cause}")]
    Decode {
        /// Address and port that answered.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The call could not even be made: a bad address, a file that cannot be read.
    #[error("{0}")]
    Local(String),
}

impl ClientError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Problem(p) => &p.code,
            Self::Unreachable { .. } => UNREACHABLE.code,
            Self::Decode { .. } => INTERNAL.code,
            Self::Local(_) => INVALID.code,
        }
    }

    /// The same as a problem object, which has everything needed to show it.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(p) => *p,
            Self::Unreachable { .. } => Problem::new(UNREACHABLE, self.to_string()),
            Self::Decode { .. } => Problem::new(INTERNAL, self.to_string()),
            Self::Local(cause) => Problem::new(INVALID, cause),
        }
    }
}
