//! Whom an outgoing request asks, as its head says it: the name that people know, where the connection only knows an
//! address.

/// Longest host that is kept, in bytes (RFC 1035, 2.3.4, and a port).
const MAX_HOST: usize = 261;

/// Whom a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The `Host` header: this server; without a port it is the connection's.
    Header(String),
    /// The authority of an absolute target, or a CONNECT's: asked through a proxy.
    Target(String),
}

impl Host {
    pub(super) fn find(target: &str, headers: &[httparse::Header<'_>]) -> Option<Self> {
        if !target.starts_with('/') && target != "*" {
            let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // User and password, where somebody still writes them there, are nobody's business.
            let authority = authority.rsplit('@').next().unwrap_or_default();
            let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
            return clean(authority).map(|host| Self::Target(with_port(&host, port)));
        }
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"))?;
        clean(std::str::from_utf8(header.value).ok()?.trim()).map(Self::Header)
    }
}

/// The name of a server that is asked over a connection to `place` (`address:port`, or `unix:/path`).
pub(super) fn of(host: Host, place: &str) -> String {
    match host {
        Host::Target(host) => host,
        // The header's host is any name there.
        Host::Header(_) if place.starts_with("unix:") => place.to_owned(),
        Host::Header(host) => {
            let port = place.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            port.map_or_else(|| host.clone(), |port| with_port(&host, port))
        }
    }
}

fn with_port(host: &str, port: u16) -> String {
    let name = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if name.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

/// What a host is made of (RFC 3986, 3.2.2), in lower case; none for anything else.
fn clean(host: &str) -> Option<String> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (!host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(is_host))
        .then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(target: &str, header: Option<&str>, place: &str) -> Option<String> {
        let headers: Vec<_> =
            header.iter().map(|value| httparse::Header { name: "Host", value: value.as_bytes() }).collect();
        Host::find(target, &headers).map(|host| of(host, place))
    }

    #[test]
    fn hosts_have_names_and_ports() {
        for (target, header, place, expected) in [
            ("/a", Some("API.example.org"), "192.0.2.1:8080", Some("api.example.org:8080")),
            ("/a", Some("api.example.org:81"), "192.0.2.1:8080", Some("api.example.org:81")),
            ("/a", Some("[2001:db8::1]"), "[2001:db8::1]:80", Some("[2001:db8::1]:80")),
            ("/a", Some("[2001:db8::1]:81"), "[2001:db8::1]:81", Some("[2001:db8::1]:81")),
            ("/a", Some("localhost"), "unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("http://u:p@api.example.org/a", Some("x"), "192.0.2.1:3128", Some("api.example.org:80")),
            ("https://api.example.org?secret", None, "192.0.2.1:3128", Some("api.example.org:443")),
            ("api.example.org:443", None, "192.0.2.1:3128", Some("api.example.org:443")),
            ("/a", Some("a b"), "192.0.2.1:80", None),
            ("/a", Some(""), "192.0.2.1:80", None),
            ("/a", None, "192.0.2.1:80", None),
        ] {
            assert_eq!(named(target, header, place).as_deref(), expected, "{target} {header:?}");
        }
    }

    proptest! {
        /// Whatever a head says, a name is short, printable and without secrets of a query.
        #[test]
        fn names_are_harmless(target: String, header: String, place: String) {
            if let Some(name) = named(&target, Some(&header), &place) {
                prop_assert!(name.starts_with("unix:") || name.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!name.contains(['?', '@']) || name.starts_with("unix:"));
            }
        }
    }
}
