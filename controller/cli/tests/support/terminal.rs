//! The program at a terminal of its own: nothing of the environment, one stub of the controller, no input.

use std::process::{Command, Stdio};

use super::stub::Stub;

/// How a run ended, and what it said.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) talk: String,
}

impl Ran {
    /// Fails unless it ended so and all of this is on its output.
    #[track_caller]
    pub(crate) fn expect(&self, exit: i32, out: &[&str], talk: &[&str]) {
        assert_eq!(self.exit, exit, "{}\n{}", self.out, self.talk);
        for part in out {
            assert!(self.out.contains(part), "{part:?} is not on stdout:\n{}\n{}", self.out, self.talk);
        }
        for part in talk {
            assert!(self.talk.contains(part), "{part:?} is not on stderr:\n{}", self.talk);
        }
    }
}

/// Runs it with these arguments.
pub(crate) fn run(stub: &Stub, args: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_chandler"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .env("CHANDLER_URL", &stub.url)
        .env("CHANDLER_TOKEN", "s3cret")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { exit: output.status.code().unwrap(), out: text(&output.stdout), talk: text(&output.stderr) }
}
