//! `chandler login`: stores where the controller is and the token to sign in with, readable by its owner only.

use std::io::{IsTerminal, Write};

use chandler_api::client::{Client, ClientError};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::config::{Origin, UserFile, read_token, write_user_file};
use crate::confirm;
use crate::problem::Failure;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler login --url http://127.0.0.1:7480 --token-file admin.token\n  chandler login < admin.token\n\nWithout --token-file the token is read from the terminal, or from stdin. It never stands in an argument."
)]
pub(crate) struct Login {}

impl Login {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let settings = &session.settings;
        let path = settings
            .file
            .clone()
            .ok_or_else(|| Failure::local("there is no home directory to store it in; set CHANDLER_TOKEN instead"))?;
        let token = match (&settings.token.value, &settings.token.origin) {
            (Some(token), Origin::Flag(_)) => token.clone(),
            _ => ask().await?,
        };
        let url = settings.url.value.clone();
        // A token that does not work is told now, not at the next command.
        match Client::new(&url, Some(&token))?.status().await {
            Ok(_) => {}
            // Some other role's token: it is good, but not for the whole picture.
            Err(ClientError::Problem(p)) if p.status == 403 => {}
            Err(e) => return Err(e.into()),
        }
        write_user_file(&path, &UserFile { url: Some(url.clone()), token: Some(token) })?;
        session.out.talk(&format!("signed in to {url}; stored in {}. Next: chandler status", path.display()));
        Ok(())
    }
}

async fn ask() -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return read_token(std::path::Path::new("-"));
    }
    let _ = write!(std::io::stderr(), "Token: ");
    let hidden = Hidden::new();
    let line = confirm::line().await;
    drop(hidden);
    let _ = writeln!(std::io::stderr());
    let token = line?.trim().to_owned();
    if token.is_empty() { Err(Failure::local("no token was given")) } else { Ok(token) }
}

/// Typed characters are not shown while this lives; Ctrl-C drops it as well.
struct Hidden(Option<Termios>);

impl Hidden {
    fn new() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet);
        }
        Self(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
