//! `chandler config`: each setting and what decided it.

use clap::Args;
use serde::Serialize;

use crate::config::Settings;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::Table;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler config\n  CHANDLER_URL=http://ctl.example:7480 chandler config -o json")]
pub(crate) struct Config {}

/// One setting. Secrets are told as `set` or `not set`.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    value: String,
    origin: String,
}

impl Config {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let lines = lines(&session.settings);
        session.out.list(&lines, "", || {
            let mut table = Table::new(&["SETTING", "VALUE", "ORIGIN"]);
            lines.iter().for_each(|l| table.row([l.name.to_owned(), l.value.clone(), l.origin.clone()]));
            table
        })
    }
}

fn lines(settings: &Settings) -> Vec<Line> {
    let token = match (&settings.token.value, &settings.withheld_for) {
        (Some(_), _) => "set".to_owned(),
        (None, Some(url)) => format!("not set (the stored one is for {url})"),
        (None, None) => "not set".to_owned(),
    };
    let line = |name, value: String, origin: &dyn ToString| Line { name, value, origin: origin.to_string() };
    let file = settings.file.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let exists = if settings.file.as_ref().is_some_and(|path| path.exists()) { "exists" } else { "does not exist" };
    vec![
        line("url", settings.url.value.clone(), &settings.url.origin),
        line("token", token, &settings.token.origin),
        line("output", format!("{:?}", settings.output.value).to_lowercase(), &settings.output.origin),
        line("color", format!("{:?}", settings.color.value).to_lowercase(), &settings.color.origin),
        line("user file", file, &exists),
    ]
}
