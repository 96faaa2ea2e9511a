//! `chandler man`: the manual pages, made from the command line itself.

use std::path::PathBuf;

use clap::Args;

use crate::problem::Failure;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler man man1 && man -l man1/chandler-order-submit.1")]
pub(crate) struct Man {
    /// Directory to write to; made when it is not there
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let cannot = |e: std::io::Error| {
            Failure::local(format!("cannot write manual pages to {}: {e}", self.directory.display()))
        };
        std::fs::create_dir_all(&self.directory).map_err(cannot)?;
        clap_mangen::generate_to(crate::args::command(), &self.directory).map_err(cannot)?;
        session.out.talk(&format!("manual pages are in {}", self.directory.display()));
        Ok(())
    }
}
