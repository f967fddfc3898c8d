//! From method and path to the endpoint's name: a route of the profile, or a template made by its looks.
//!
//! Names are bounded. Routes of the profile always have their place; of all others, the first `max` are told
//! apart and the rest is counted together as [`OTHER`]. Nothing is allocated for an endpoint that is known:
//! the name is built in one buffer and looked up.

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::str::Split;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::profile::{Profile, Segment, split_path};

/// The name under which everything past the bound is counted.
pub const OTHER: &str = "other";

/// Distinct names folded into [`OTHER`] are counted up to this many (an 8-byte hash each).
pub const MAX_FOLDED: usize = 10_000;

/// Deeper paths are cut: their tail becomes `{rest}`.
const MAX_SEGMENTS: usize = 12;

/// Stands for a path's segment that looks like an identifier.
const ID: &str = "{id}";

/// Hexadecimal digits from here on look like a hash, if a decimal digit is among them (`facade` is a word).
const MIN_HASH_CHARS: usize = 8;

/// Letters and digits mixed from here on look like a token (a ULID has 26, a nanoid 21).
const MIN_TOKEN_CHARS: usize = 20;

/// Longer segments are data, whatever they look like.
const MAX_WORD_CHARS: usize = 48;

/// Methods that name an endpoint; others are as unbounded as paths.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];

/// Index of an endpoint in its table.
pub(super) type EndpointIndex = usize;

/// The endpoints of a run.
#[derive(Clone, Debug)]
pub(super) struct EndpointTable {
    routes: Node,
    names: Vec<String>,
    index_by_name: FxHashMap<String, EndpointIndex>,
    /// Endpoints that are no route of the profile, and how many there may be.
    n_unrouted: usize,
    max_unrouted: usize,
    folded: FxHashSet<u64>,
    /// Reused for each name.
    buffer: String,
}

impl EndpointTable {
    /// An empty table that knows the profile's routes.
    pub(super) fn new(profile: &Profile) -> Self {
        let mut routes = Node::default();
        for route in &profile.routes {
            routes.insert(&route.segments, route.method.as_deref(), &route.path);
        }
        Self { routes, ..Self::unrouted(profile.max_endpoints) }
    }

    /// An empty table that knows no routes, and tells so many endpoints apart.
    pub(super) fn unrouted(max: usize) -> Self {
        Self {
            routes: Node::default(),
            names: Vec::new(),
            index_by_name: FxHashMap::default(),
            n_unrouted: 0,
            max_unrouted: max,
            folded: FxHashSet::default(),
            buffer: String::new(),
        }
    }

    /// The endpoint of a request; a new one's index is the number of those before it.
    pub(super) fn index_of(&mut self, method: &str, path: &str) -> EndpointIndex {
        self.index_at(None, method, path)
    }

    /// The same of a request to somebody else.
    pub(super) fn index_at(&mut self, host: Option<&str>, method: &str, path: &str) -> EndpointIndex {
        let path = without_authority(path);
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("{method}");
        let mut name = std::mem::take(&mut self.buffer);
        name.clear();
        name.push_str(method);
        name.push(' ');
        if let Some(host) = host {
            name.push_str(host);
            name.push(' ');
        }
        let route = self.routes.find(method, path);
        match route {
            Some(route) => name.push_str(route),
            None => push_template(&mut name, path),
        }
        let is_routed = route.is_some();
        let index = match self.index_by_name.get(&name) {
            Some(index) => *index,
            None => self.admit(&name, is_routed),
        };
        self.buffer = name;
        index
    }

    /// Name of an endpoint.
    pub(super) fn name(&self, index: EndpointIndex) -> &str {
        self.names.get(index).map_or(OTHER, String::as_str)
    }

    /// Distinct names behind [`OTHER`]; [`MAX_FOLDED`] means that many or more.
    pub(super) fn n_folded(&self) -> usize {
        self.folded.len()
    }

    /// The endpoint of a name that is made elsewhere, bounded like any other.
    pub(super) fn index_as(&mut self, name: &str) -> EndpointIndex {
        self.index_by_name.get(name).copied().unwrap_or_else(|| self.admit(name, false))
    }

    /// The endpoint of a name that another table has admitted.
    pub(super) fn index_of_name(&mut self, name: &str) -> EndpointIndex {
        self.index_by_name.get(name).copied().unwrap_or_else(|| self.push(name))
    }

    /// What stands for the names behind [`OTHER`].
    pub(super) fn folded(&self) -> impl Iterator<Item = u64> {
        self.folded.iter().copied()
    }

    /// Adds names that another table has folded.
    pub(super) fn fold(&mut self, folded: &BTreeSet<u64>) {
        for hash in folded {
            if self.folded.len() < MAX_FOLDED {
                self.folded.insert(*hash);
            }
        }
    }

    fn admit(&mut self, name: &str, is_routed: bool) -> EndpointIndex {
        if is_routed {
            return self.push(name);
        }
        if self.n_unrouted < self.max_unrouted {
            self.n_unrouted += 1;
            return self.push(name);
        }
        if self.folded.len() < MAX_FOLDED {
            self.folded.insert(FxBuildHasher.hash_one(name));
        }
        match self.index_by_name.get(OTHER) {
            Some(index) => *index,
            None => self.push(OTHER),
        }
    }

    fn push(&mut self, name: &str) -> EndpointIndex {
        self.names.push(name.to_owned());
        self.index_by_name.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// A tree of the routes' segments: literal text is tried before a parameter, both before the rest of a path.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: FxHashMap<String, Self>,
    parameter: Option<Box<Self>>,
    rest: Vec<Leaf>,
    leaves: Vec<Leaf>,
}

/// A route that ends at a node.
#[derive(Clone, Debug)]
struct Leaf {
    method: Option<String>,
    path: String,
}

impl Node {
    fn insert(&mut self, segments: &[Segment], method: Option<&str>, path: &str) {
        let leaf = || Leaf { method: method.map(str::to_owned), path: path.to_owned() };
        match segments.split_first() {
            None => self.leaves.push(leaf()),
            Some((Segment::Rest, _)) => self.rest.push(leaf()),
            Some((Segment::Parameter, later)) => {
                self.parameter.get_or_insert_default().insert(later, method, path);
            }
            Some((Segment::Literal(text), later)) => {
                self.literals.entry(text.clone()).or_default().insert(later, method, path);
            }
        }
    }

    fn find(&self, method: &str, path: &str) -> Option<&str> {
        path.starts_with('/').then(|| self.find_segments(method, split_path(path))).flatten()
    }

    /// Recurses as deep as the deepest route, however deep the path is.
    fn find_segments(&self, method: &str, mut path: Split<'_, char>) -> Option<&str> {
        let Some(segment) = path.next() else { return pick(&self.leaves, method) };
        let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
        [self.literals.get(segment), parameter]
            .into_iter()
            .flatten()
            .find_map(|node| node.find_segments(method, path.clone()))
            .or_else(|| pick(&self.rest, method))
    }
}

/// A route of this very method wins over one of any.
fn pick<'a>(leaves: &'a [Leaf], method: &str) -> Option<&'a str> {
    let of_method = leaves.iter().find(|leaf| leaf.method.as_deref() == Some(method));
    of_method.or_else(|| leaves.iter().find(|leaf| leaf.method.is_none())).map(|leaf| leaf.path.as_str())
}

/// A proxy asks with the absolute form (`http://host/path`): the endpoint is the same.
fn without_authority(path: &str) -> &str {
    if path.starts_with('/') {
        return path;
    }
    let Some((_, behind)) = path.split_once("://") else { return path };
    behind.find('/').map_or("/", |slash| &behind[slash..])
}

fn push_template(name: &mut String, path: &str) {
    if !path.starts_with('/') {
        // `OPTIONS *`, or the authority of a CONNECT, which is as unbounded as an identifier.
        name.push_str(if path == "*" { path } else { ID });
        return;
    }
    for (depth, segment) in split_path(path).enumerate() {
        name.push('/');
        if depth == MAX_SEGMENTS {
            name.push_str("{rest}");
            return;
        }
        name.push_str(if is_identifier(segment) { ID } else { segment });
    }
}

/// The segment looks like one of many: a number, a UUID, a hash, a token, or quoted or very long data.
fn is_identifier(segment: &str) -> bool {
    let (mut n_digits, mut n_hex, mut n_word) = (0, 0, 0);
    for byte in segment.bytes() {
        n_digits += usize::from(byte.is_ascii_digit());
        n_hex += usize::from(byte.is_ascii_hexdigit());
        n_word += usize::from(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if matches!(byte, b'%' | b'@') {
            return true;
        }
    }
    let length = segment.len();
    let is_number = length > 0 && n_digits == length;
    let is_hash = n_hex == length && length >= MIN_HASH_CHARS && n_digits > 0;
    let is_token = n_word == length && length >= MIN_TOKEN_CHARS && n_digits > 0;
    is_number || is_hash || is_token || length > MAX_WORD_CHARS || is_uuid(segment)
}

fn is_uuid(segment: &str) -> bool {
    segment.len() == 36
        && segment.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(routes: &[&str], max: usize) -> EndpointTable {
        let text = format!("name = 'x'\nroutes = {routes:?}\n[endpoints]\nmax = {max}\n");
        EndpointTable::new(&Profile::parse("F", &text).unwrap())
    }

    fn name(table: &mut EndpointTable, method: &str, path: &str) -> String {
        let index = table.index_of(method, path);
        table.name(index).to_owned()
    }

    #[test]
    fn routes_name_endpoints_literals_first() {
        let mut table = table(
            &[
                "GET /stages/{id}",
                "/stages/current",
                "PUT /stages/{id}",
                "/files/{path:path}",
                "/a/{x}/c",
                "/a/b/d",
                "/",
            ],
            10,
        );
        for (method, path, expected) in [
            ("GET", "/stages/layout", "GET /stages/{id}"),
            ("GET", "/stages/current", "GET /stages/current"),
            ("PUT", "/stages/current", "PUT /stages/current"),
            ("PUT", "/stages/7", "PUT /stages/{id}"),
            ("DELETE", "/stages/7", "DELETE /stages/{id}"),
            ("DELETE", "/stages/layout", "DELETE /stages/layout"),
            ("GET", "/stages/", "GET /stages/"),
            ("GET", "/stages/a/b", "GET /stages/a/b"),
            ("GET", "/files/a/b/c.txt", "GET /files/{path:path}"),
            ("GET", "/a/b/c", "GET /a/{x}/c"),
            ("GET", "/a/b/d", "GET /a/b/d"),
            ("GET", "/", "GET /"),
            ("GET", "http://host:80/stages/1", "GET /stages/{id}"),
            ("GET", "http://host", "GET /"),
            ("OPTIONS", "*", "OPTIONS *"),
            ("BREW", "/pot", "{method} /pot"),
        ] {
            assert_eq!(name(&mut table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn identifiers_are_folded_and_words_are_not() {
        for (segment, expected) in [
            ("1", true),
            ("20240131", true),
            ("3f2b8c1e-9d4a-4c7b-8e1f-0a2b3c4d5e6f", true),
            ("507f1f77bcf86cd799439011", true),
            ("deadbee1", true),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
            ("V1StGXR8_Z5jdHi6B-myT", true),
            ("me%40example.org", true),
            ("me@example.org", true),
            ("", false),
            ("v2", false),
            ("facade", false),
            ("deadbeef", false),
            ("oauth2", false),
            ("table_cell_matching_editor", false),
            ("favicon.ico", false),
        ] {
            assert_eq!(is_identifier(segment), expected, "{segment}");
        }
    }

    #[test]
    fn past_the_bound_all_is_other_but_routes_have_their_place() {
        let mut table = table(&["GET /late"], 2);
        for path in ["/a", "/b", "/c", "/d", "/c"] {
            table.index_of("GET", path);
        }
        assert_eq!(name(&mut table, "GET", "/a"), "GET /a");
        assert_eq!(name(&mut table, "GET", "/c"), OTHER);
        assert_eq!(name(&mut table, "GET", "/late"), "GET /late");
        assert_eq!(table.n_folded(), 2);
        for n in 0..2 * MAX_FOLDED {
            table.index_of("GET", &format!("/x{n}"));
        }
        assert_eq!(table.n_folded(), MAX_FOLDED);
        assert_eq!(table.names.len(), 4);
    }

    proptest! {
        #[test]
        fn any_request_has_a_name_and_keeps_it(method: String, paths in prop::collection::vec("[ -~é]{0,80}", 1..30)) {
            let mut table = table(&["/a/{b}", "/{c:path}"], 5);
            for path in &paths {
                let index = table.index_of(&method, path);
                prop_assert_eq!(table.index_of(&method, path), index);
                prop_assert!(table.name(index).len() < MAX_SEGMENTS * (MAX_WORD_CHARS + 1) + 40);
            }
            prop_assert!(table.names.len() <= 5 + 1 + 2);
        }
    }
}
