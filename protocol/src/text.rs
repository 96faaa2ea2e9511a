//! Text that came from outside, made safe to keep and to show.
//!
//! Whatever an agent or a customer says (a host name, a log line, an error) may hold control
//! characters that fool a terminal, or be 64 kB long. It passes through here before it is stored.

/// Longest name that is kept, in characters.
pub const NAME_MAX: usize = 64;
/// Longest free text (a message, a model name) that is kept, in characters.
pub const TEXT_MAX: usize = 512;

/// `text` without control and bidirectional-override characters, at most `max` characters long.
pub fn clean(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control() && !is_bidi(*c)).take(max).collect()
}

/// Characters that change the direction of what follows, or hide it.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether `name` may name a thing: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// Whether `path` stays inside the directory it is relative to: not empty, not absolute, no `..`,
/// no NUL or backslash, at most 1,024 bytes.
pub fn is_inner_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1_024
        && !path.starts_with('/')
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|part| part != ".." && !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_length_go() {
        assert_eq!(clean("pc\x1b[31m-1\n\u{202e}x", 64), "pc[31m-1x");
        assert_eq!(clean(&"a".repeat(65_536), NAME_MAX).len(), NAME_MAX);
    }

    #[test]
    fn names_and_paths() {
        assert!(is_name("notes-1.0"));
        for bad in ["", "-x", "Notes", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad} was taken for a name");
        }
        assert!(is_inner_path("data/in.txt"));
        for bad in ["", "/etc", "../x", "a/../b", "a//b", "a\0b", "a\\b"] {
            assert!(!is_inner_path(bad), "{bad:?} was taken for an inner path");
        }
    }
}
