//! Which parts of a head are between two neighbours only and are not passed on.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri, Version};

/// Named by RFC 9110 and its predecessors as between neighbours. `te` is looked at apart.
const BETWEEN: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out what is not passed on. `trailers` in `te` is: gRPC relies on it.
pub(super) fn strip(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let names = value.to_str().unwrap_or_default().split(',');
        named.extend(names.filter_map(|n| n.trim().parse::<HeaderName>().ok()));
    }
    let trailers = headers.get_all(header::TE).iter().any(|v| has_word(v, "trailers"));
    for name in named.iter().filter(|n| **n != header::TE).chain(&BETWEEN) {
        headers.remove(name);
    }
    headers.remove(header::TE);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// What the connection is to be turned into, when it is asked for rightly. HTTP/2 is not come to in this way any more
/// (RFC 9113 3.1).
pub(super) fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(header::CONNECTION).iter().any(|v| has_word(v, "upgrade"));
    let to = headers.get(header::UPGRADE)?;
    (asked && version == Version::HTTP_11 && !has_word(to, "h2c")).then(|| to.clone())
}

/// Says so again, to the next neighbour.
pub(super) fn set_upgrade(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, to);
}

/// Whether a list of words has this one, in any case.
pub(super) fn has_word(value: &HeaderValue, word: &str) -> bool {
    value.to_str().unwrap_or_default().split(',').any(|w| w.trim().eq_ignore_ascii_case(word))
}

/// The address of a request as HTTP/1.1 has it: path and query, and the host in its header.
pub(super) fn to_origin(uri: &mut Uri, headers: &mut HeaderMap) {
    if let Some(authority) = uri.authority()
        && !headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    if let Ok(origin) = path.parse() {
        *uri = origin;
    }
}

/// Whether a request may be sent twice: RFC 9110 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

/// About what a head takes up in memory.
pub(super) fn size(uri: &Uri, headers: &HeaderMap) -> u64 {
    let fields: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 64).sum();
    let path = uri.path_and_query().map_or(0, |p| p.as_str().len());
    (fields + path) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_neighbours_stays_there_and_the_rest_goes_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, x-mine"),
            ("keep-alive", "timeout=5"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("host", "notes.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("expect", "100-continue"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["expect: 100-continue", "host: notes.example", "te: trailers", "x-forwarded-for: 10.0.0.1"]);
    }

    #[test]
    fn the_host_survives_a_change_of_version() {
        let mut headers = HeaderMap::new();
        let mut uri: Uri = "http://notes.example:81/a?b=c".parse().unwrap();
        to_origin(&mut uri, &mut headers);
        assert_eq!(uri, "/a?b=c");
        assert_eq!(headers[header::HOST], "notes.example:81");
    }
}
