//! What every command has at hand: where the controller is, and how to speak to people.

use std::cell::{OnceCell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use chandler_api::client::{Client, ClientError};

use crate::args::Globals;
use crate::config::Settings;
use crate::problem::Failure;
use crate::show::Out;

/// One run of one command.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) out: Out,
    client: OnceCell<Client>,
    /// What Ctrl-C leaves behind, in one sentence.
    detached: RefCell<Option<String>>,
}

impl Session {
    pub(crate) fn new(globals: &Globals) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let settings = Settings::resolve(globals, &environment)?;
        let out = Out::new(settings.output.value, settings.color.value);
        Ok(Self { settings, out, client: OnceCell::new(), detached: RefCell::new(None) })
    }

    /// The controller. Made at first use, so that commands which need none work without.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let token = self.settings.token.value.as_deref();
        let (out, told) = (self.out, AtomicBool::new(false));
        // Once is enough: a long wait tries many times.
        let notice = move |error: &ClientError| {
            if !told.swap(true, Ordering::Relaxed) {
                out.talk(&format!("{error}; trying again"));
            }
        };
        let client = Client::new(&self.settings.url.value, token)?.with_notice(Box::new(notice));
        Ok(self.client.get_or_init(|| client))
    }

    /// From now on, Ctrl-C stops the waiting only: says what goes on.
    pub(crate) fn detaches(&self, goes_on: impl Into<Option<String>>) {
        *self.detached.borrow_mut() = goes_on.into();
    }

    pub(crate) fn interruption(&self) -> Failure {
        Failure::Interrupted(self.detached.borrow().clone().unwrap_or_else(|| "interrupted".to_owned()))
    }
}
