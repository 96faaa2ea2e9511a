//! Where files are, inside the data directory.

use std::path::{Path, PathBuf};

use chandler_protocol::{AssignmentId, Digest};

/// The places of one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The places under `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.to_owned() }
    }
    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Unpacked artifacts.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }
    /// One unpacked artifact, shared and not written to.
    pub fn artifact(&self, digest: Digest) -> PathBuf {
        self.artifacts().join(digest.to_string())
    }
    /// Fetched files, whole and in part.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }
    /// One whole fetched file.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.to_string())
    }
    /// Everything of all assignments.
    pub fn assignments(&self) -> PathBuf {
        self.root.join("work")
    }
    /// Everything of one assignment.
    pub fn assignment(&self, id: AssignmentId) -> PathBuf {
        self.assignments().join(id.to_string())
    }
    /// `{work}`: a task's own directory; emptied before it runs again.
    pub fn work(&self, id: AssignmentId) -> PathBuf {
        self.assignment(id).join("work")
    }
    /// What `{state}` is inside of; kept until the assignment is wiped.
    pub fn state(&self, id: AssignmentId) -> PathBuf {
        self.assignment(id).join("state")
    }
    /// What is noted about a state that is received.
    pub fn received(&self, id: AssignmentId) -> PathBuf {
        self.assignment(id).join("received")
    }
    /// The kept logs.
    pub fn log(&self, id: AssignmentId) -> PathBuf {
        self.assignment(id).join("log")
    }
    /// What agent and supervisor tell each other about the present run.
    pub fn run(&self, id: AssignmentId) -> PathBuf {
        self.assignment(id).join("run")
    }
}
