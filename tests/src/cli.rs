//! The `chandler` command as a person or a script uses it: a process of its own that knows the controller's address
//! and a token, and nothing else of this machine's user.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::fleet::{Fleet, program};

/// Somebody at a terminal.
#[derive(Debug)]
pub struct Person {
    program: PathBuf,
    url: String,
    token: String,
    home: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` after a signal.
    pub exit: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Person {
    /// Somebody with this token, in a directory of their own.
    ///
    /// # Errors
    /// The command is not built, or the directory cannot be made.
    pub fn new(fleet: &Fleet, name: &str, token: &str) -> anyhow::Result<Self> {
        let home = fleet.dir().join(format!("home-{name}"));
        std::fs::create_dir_all(&home)?;
        let url = format!("http://{}", fleet.http);
        Ok(Self { program: program("chandler")?, url, token: token.to_owned(), home })
    }

    /// The same person at another controller's address.
    #[must_use]
    pub fn at(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Where they are: relative paths begin here.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.home).env_clear().env("HOME", &self.home);
        command.env("CHANDLER_URL", &self.url).env("CHANDLER_TOKEN", &self.token);
        let output = command.output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended { exit: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Runs a command that must succeed, with `-o json`; gives what it printed.
    ///
    /// # Errors
    /// It failed, or printed something else.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let ended = self.run(&[arguments, &["-o", "json"]].concat())?;
        ensure!(ended.exit == Some(0), "chandler {arguments:?} ended so: {ended:#?}");
        serde_json::from_str(&ended.stdout).with_context(|| format!("chandler {arguments:?} printed {ended:#?}"))
    }

    /// Runs a command that must end with this status; gives standard error.
    ///
    /// # Errors
    /// It ended otherwise.
    pub fn refused(&self, exit: i32, arguments: &[&str]) -> anyhow::Result<String> {
        let ended = self.run(arguments)?;
        ensure!(ended.exit == Some(exit), "chandler {arguments:?} shall end with {exit}: {ended:#?}");
        Ok(ended.stderr)
    }
}
