//! `{port.NAME}`, `{state}`, `{work}` and `{front.SERVICE.PORT}` in commands, environment and health checks.

use super::Ports;
use crate::fronts::{Fronts, NotAFront};

/// What the words stand for.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    pub(super) ports: &'a Ports,
    pub(super) state: &'a str,
    pub(super) work: &'a str,
    pub(super) fronts: &'a Fronts,
}

impl Words<'_> {
    /// `text` with every known word replaced. Braces around anything else stay: they may be the program's own.
    pub(super) fn replace(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            out.push_str(before);
            let Some(close) = after.find('}') else {
                rest = after;
                break;
            };
            let word = &after[1..close];
            match (word, word.strip_prefix("port.")) {
                ("state", _) => out.push_str(self.state),
                ("work", _) => out.push_str(self.work),
                (_, Some(name)) => match self.ports.iter().find(|(n, _)| n == name) {
                    Some((_, number)) => out.push_str(&number.to_string()),
                    None => return Err(format!("{{port.{name}}} stands in the command but no port has that name")),
                },
                _ => match self.fronts.find(word) {
                    Ok(Some(address)) => out.push_str(&address.to_string()),
                    Ok(None) => return Err(format!("where {{{word}}} is reached is not known")),
                    Err(NotAFront) => {
                        out.push('{');
                        rest = &after[1..];
                        continue;
                    }
                },
            }
            rest = &after[close + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Every one of `texts` replaced.
    pub(super) fn replace_all(&self, texts: &[String]) -> Result<Vec<String>, String> {
        texts.iter().map(|t| self.replace(t)).collect()
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::ServiceId;

    use super::*;

    fn check(text: &str, expect: Result<&str, ()>) {
        let ports = vec![("http".to_owned(), 8080), ("admin".to_owned(), 9)];
        let (fronts, known) = (Fronts::default(), ServiceId::from_random([0; 10]));
        fronts.set([((known, "http".to_owned()), ([127, 0, 0, 1], 18_080).into())].into());
        let words = Words { ports: &ports, state: "/d/state", work: "/d/work", fronts: &fronts };
        assert_eq!(words.replace(text).as_deref().map_err(|_| ()), expect, "{text}");
    }

    #[test]
    fn words_are_replaced_and_other_braces_stay() {
        check("127.0.0.1:{port.http}", Ok("127.0.0.1:8080"));
        check("{state}/a{work}{port.admin}", Ok("/d/state/a/d/work9"));
        check("plain", Ok("plain"));
        check("{\"port\":{port.http}}", Ok("{\"port\":8080}"));
        check("{unknown} {", Ok("{unknown} {"));
        check("{{state}}", Ok("{/d/state}"));
        check("{port.none}", Err(()));
        check("http://{front.svc-0000000000000000.http}/", Ok("http://127.0.0.1:18080/"));
        check("{front.svc-0000000000000000.admin}", Err(()));
        check("{front.other}", Ok("{front.other}"));
    }
}
