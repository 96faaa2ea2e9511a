//! `chandler help`: the page of an error code, or the help of a command.

use chandler_api::problem::{CODES, NOT_FOUND, Problem};
use clap::Args;

use crate::problem::{Failure, page, pages};
use crate::session::Session;
use crate::show::stdout;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  chandler help E0301\n  chandler help codes\n  chandler help order submit")]
pub(crate) struct Help {
    /// A code such as E0301, "codes" for all of them, or a command
    topic: Vec<String>,
}

impl Help {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self.topic.as_slice() {
            [topic] if topic == "codes" => {
                let lines: Vec<String> = pages().iter().map(|(code, title)| format!("{code}  {title}")).collect();
                stdout(&lines.join("\n"))
            }
            [topic] if is_code(topic) => match page(topic) {
                Some(text) if !session.out.is_json() => stdout(&text),
                Some(_) => code_json(session, topic),
                None => {
                    let text = format!("there is no code {topic}; chandler help codes lists them");
                    Err(Problem::new(NOT_FOUND, text).into())
                }
            },
            path => {
                let mut command = crate::args::command();
                command.build();
                for part in path {
                    command = match command.find_subcommand(part) {
                        Some(found) => found.clone(),
                        None => return Err(Failure::Usage(format!("there is no command {:?}", path.join(" ")))),
                    };
                }
                stdout(command.render_long_help().to_string().trim_end())
            }
        }
    }
}

/// `E` and digits.
fn is_code(topic: &str) -> bool {
    topic.strip_prefix(['E', 'e']).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn code_json(session: &Session, topic: &str) -> Result<(), Failure> {
    let code = CODES.iter().find(|c| c.code.eq_ignore_ascii_case(topic));
    let value = code.map(
        |c| serde_json::json!({ "code": c.code, "title": c.title, "help": c.help, "status": c.status, "exit": c.exit }),
    );
    session.out.object(&value, String::new)
}
