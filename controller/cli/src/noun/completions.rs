//! `chandler completions`: what a shell needs to complete the command line.

use clap::Args;
use clap_complete::Shell;

use crate::problem::Failure;
use crate::show::raw;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler completions bash > /etc/bash_completion.d/chandler\n  source <(chandler completions zsh)"
)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut crate::args::command(), "chandler", &mut text);
        raw(&text)
    }
}
