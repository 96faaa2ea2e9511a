//! Lists, one page at a time. A page token is opaque: the kind of list and the key of the last item given.

use chandler_api::page::{LIMIT_DEFAULT, LIMIT_MAX, Page, PageQuery};
use chandler_api::problem::{PAGE_EXPIRED, Problem};
use data_encoding::BASE32HEX_NOPAD;

use super::error::{Failure, malformed};

/// Longest page token that is looked at.
const TOKEN_MAX: usize = 512;

/// What part of a list is wanted, checked.
#[derive(Debug)]
pub(super) struct Wanted {
    kind: &'static str,
    limit: usize,
    /// Key of the last item of the page before.
    after: Option<String>,
}

/// How many items are wanted.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Failure> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        n @ 1..=LIMIT_MAX => Ok(n),
        n => Err(malformed(format!("limit is {n}: write a number from 1 to {LIMIT_MAX}"))),
    }
}

impl Wanted {
    /// Reads the query of a list of this kind.
    pub(super) fn new(kind: &'static str, query: &PageQuery) -> Result<Self, Failure> {
        let limit = limit(query.limit)? as usize;
        let after = query.page_token.as_deref().map(|token| open(kind, token)).transpose()?;
        Ok(Self { kind, limit, after })
    }

    /// Most items on the page.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// The key of the last item of the page before.
    pub(super) fn after<K: std::str::FromStr>(&self) -> Result<Option<K>, Failure> {
        self.after.as_deref().map(|key| key.parse().map_err(|_| expired())).transpose()
    }

    /// The page that starts with the first of `items`, which are in order and begin behind [`Self::after`].
    pub(super) fn take<T, U>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> String,
        show: impl Fn(T) -> U,
    ) -> Page<U> {
        let mut items = items.peekable();
        let mut page = Vec::new();
        let mut last = String::new();
        while page.len() < self.limit
            && let Some(item) = items.next()
        {
            last = key(&item);
            page.push(show(item));
        }
        let more = items.peek().is_some();
        Page { items: page, next_page_token: more.then(|| seal(self.kind, &last)) }
    }
}

fn seal(kind: &str, key: &str) -> String {
    BASE32HEX_NOPAD.encode(format!("{kind}\n{key}").as_bytes()).to_ascii_lowercase()
}

fn open(kind: &str, token: &str) -> Result<String, Failure> {
    if token.len() > TOKEN_MAX {
        return Err(expired());
    }
    let bytes = BASE32HEX_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).map_err(|_| expired())?;
    let text = String::from_utf8(bytes).map_err(|_| expired())?;
    match text.split_once('\n') {
        Some((of, key)) if of == kind => Ok(key.to_owned()),
        _ => Err(expired()),
    }
}

fn expired() -> Failure {
    Problem::new(PAGE_EXPIRED, "pageToken is not one that this list gave: start again without it").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(token: Option<String>) -> Page<u32> {
        let wanted = Wanted::new("numbers", &PageQuery { limit: Some(2), page_token: token }).unwrap();
        let after: Option<u32> = wanted.after().unwrap();
        wanted.take((0..5_u32).filter(|n| after.is_none_or(|a| *n > a)), u32::to_string, |n| n)
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let (mut seen, mut token) = (Vec::new(), None);
        for _ in 0..3 {
            let page = page_of(token);
            seen.extend(page.items);
            token = page.next_page_token;
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(token, None);
    }

    #[test]
    fn foreign_tokens_and_limits_are_refused() {
        let code = |limit, token: Option<&str>| {
            let query = PageQuery { limit, page_token: token.map(str::to_owned) };
            Wanted::new("numbers", &query).and_then(|w| w.after::<u32>()).map_err(|f| f.0.code).unwrap_err()
        };
        for bad in ["", "x", "ä", &seal("orders", "1"), &seal("numbers", "one"), &"0".repeat(TOKEN_MAX + 1)] {
            assert_eq!(code(None, Some(bad)), "E0145", "{bad:?}");
        }
        for bad in [0, 501, u32::MAX] {
            assert_eq!(code(Some(bad), None), "E0110", "{bad}");
        }
    }
}
