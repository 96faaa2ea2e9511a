//! `chandler status`: everything at one glance.

use std::collections::BTreeMap;

use chandler_protocol::text::clean;
use clap::Args;

use crate::problem::Failure;
use crate::session::Session;
use crate::show::{Facts, moment};
use crate::word;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler status\n  chandler status -o json")]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let status = session.client()?.status().await?;
        session.out.object(&status, || {
            let mut facts = Facts::default();
            facts
                .add("at", format!("{}, generation {}", moment(status.at), status.generation))
                .add("roles", status.roles.iter().map(word::of).collect::<Vec<_>>().join(", "))
                .add("hosts", counts(&status.hosts))
                .add("inventory", counts(&status.inventory))
                .add("services", counts(&status.services))
                .add("orders", counts(&status.orders))
                .add("rated", format!("{} this month", status.rated_this_month));
            let mut text = facts.to_string();
            for line in &status.attention {
                text.push_str("\n! ");
                text.push_str(&clean(line, usize::MAX));
            }
            if status.attention.is_empty() {
                text.push_str("\nnothing needs attention");
            }
            text
        })
    }
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts.iter().filter(|(_, n)| **n > 0).map(|(state, n)| format!("{n} {state}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
