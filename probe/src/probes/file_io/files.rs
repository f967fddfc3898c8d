//! The files of the tree that could matter: from openings and names to written files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use probe_common::{
    file::FileId,
    file_io::{Class, O_ACCMODE, Op, OpenFile, SLOW_CALL_NS},
};

use super::{
    decode::{By, FileEvent},
    known::{Known, classify, written},
    marker,
    names::{Folders, join},
    stats::Counted,
};
use crate::{
    event::{Event, FileRead, FileRemoved, Placed, SlowCall},
    probes::path::MountPath,
    profile::Profile,
    target::mounts::Mounts,
};

/// Openings that are remembered; the oldest closed one makes room.
const MAX_FILES: usize = 16_384;

/// What this room asks of the kernel side.
pub trait Kernel {
    /// Gives a file its class.
    fn classify(&mut self, file: FileId, class: Class);
    /// What an open file was used for so far.
    fn open_file(&self, key: u64) -> Option<OpenFile>;
}

/// See the head of this file.
#[derive(Debug)]
pub struct Files {
    profile: Arc<Profile>,
    mounts: Mounts,
    folders: Folders,
    known: HashMap<u64, Known>,
    /// The newest opening of each name.
    by_path: HashMap<String, u64>,
    /// The newest opening of each file, by device and inode.
    by_file: HashMap<(u32, u64), u64>,
    /// Openings in their order, to forget the oldest.
    order: VecDeque<u64>,
    counted: Counted,
    /// Devices on which files were written.
    devices: BTreeMap<u32, u64>,
    n_cut_names: u64,
}

impl Files {
    /// No file yet; the profile's rules say which are checkpoints.
    pub fn new(profile: Arc<Profile>) -> Self {
        Self {
            profile,
            mounts: Mounts::default(),
            folders: Folders::default(),
            known: HashMap::new(),
            by_path: HashMap::new(),
            by_file: HashMap::new(),
            order: VecDeque::new(),
            counted: Counted::default(),
            devices: BTreeMap::new(),
            n_cut_names: 0,
        }
    }

    /// Calls that were counted here, not in the kernel.
    pub const fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Calls that change names, given paths that are too long to be followed.
    pub const fn n_cut_names(&self) -> u64 {
        self.n_cut_names
    }

    /// Devices on which files were written, as the kernel numbers them.
    pub fn devices(&self) -> impl Iterator<Item = u32> {
        self.devices.keys().copied()
    }

    /// Takes a record of this room.
    pub fn event(&mut self, event: FileEvent, kernel: &mut impl Kernel, out: &mut Vec<Event>) {
        match event {
            FileEvent::Opened { by, key, open, links, path } => {
                self.opened(by, key, &open, links, &path, kernel, out);
            }
            FileEvent::Called { by, id, op, class, ret } => self.called(by, id, op, class, ret, out),
            FileEvent::Closed { by, open } => self.closed(by, *open, out),
            FileEvent::Named { by, op, ret, old, new } => self.named(by, op, ret, (&old, &new), kernel, out),
            FileEvent::Marked { by, text } => out.extend(marker::read(by, &text).map(Event::Marker)),
        }
    }

    /// A process ended, or executed another program: what it had open for writing is closed.
    pub fn ended(&mut self, pid: u32, ts_ns: u64, kernel: &impl Kernel, out: &mut Vec<Event>) {
        // Whoever wrote last may be another than who opened it: only the kernel side knows.
        let mut left: Vec<u64> = self.unfinished().collect();
        left.sort_unstable();
        for id in left {
            let by = By { pid, tid: pid, enter_ns: ts_ns, ts_ns, io_ns: 0 };
            self.leave(id, by, Placed::Exit, kernel, out);
        }
    }

    /// The run ends: what is still open is told as that.
    pub fn finish(&mut self, end_ns: u64, kernel: &impl Kernel, out: &mut Vec<Event>) {
        let mut left: Vec<u64> = self.unfinished().collect();
        left.sort_unstable();
        for id in left {
            let pid = self.known[&id].open.pid;
            let by = By { pid, tid: pid, enter_ns: end_ns, ts_ns: end_ns, io_ns: 0 };
            self.leave(id, by, Placed::Open, kernel, out);
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = u64> {
        self.known
            .iter()
            .filter(|(_, known)| {
                known.closed.is_none()
                    && known.open.open_flags & O_ACCMODE != 0
                    && !Class::is_summed_only(known.class as u32)
            })
            .map(|(id, _)| *id)
    }

    fn leave(&mut self, id: u64, by: By, placed: Placed, kernel: &impl Kernel, out: &mut Vec<Event>) {
        let Some(known) = self.known.get_mut(&id) else { return };
        match kernel.open_file(known.key).filter(|open| open.id == id) {
            Some(open) if open.pid == by.pid => known.open = open,
            // Another process writes it.
            Some(_) if placed == Placed::Exit => return,
            None if placed == Placed::Exit && known.open.pid != by.pid => return,
            _ => {}
        }
        known.closed = Some(by);
        known.placed.get_or_insert((by, placed));
        let event = written(id, known);
        known.is_told = true;
        out.push(Event::FileWritten(event));
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record")]
    fn opened(
        &mut self,
        by: By,
        key: u64,
        open: &OpenFile,
        links: u32,
        path: &MountPath,
        kernel: &mut impl Kernel,
        out: &mut Vec<Event>,
    ) {
        let path = if links == 0 { format!("…/{}", path.names) } else { self.mounts.resolve(by.pid, path) };
        let was_known = Class::ALL.get(open.class as usize).copied().filter(|class| *class != Class::Unknown);
        let class = was_known.unwrap_or_else(|| classify(&self.profile, &path));
        if was_known.is_none() {
            kernel.classify(open.file, class);
            if open.opened_ns > 0 {
                self.counted.add(class, Op::Open, Some(open.open_ns), 0);
            }
        }
        let is_written = open.open_flags & O_ACCMODE != 0;
        if !is_written && matches!(class, Class::Checkpoint | Class::Upload) {
            out.push(Event::FileRead(FileRead {
                ts_ns: by.enter_ns,
                pid: by.pid,
                tid: by.tid,
                path: path.clone(),
                io_ns: by.io_ns,
            }));
        }
        if is_written {
            *self.devices.entry(open.file.dev).or_default() += 1;
        }
        self.by_path.insert(path.clone(), open.id);
        self.by_file.insert((open.file.dev, open.file.ino), open.id);
        let known = Known {
            key,
            open: *open,
            class,
            path,
            was: None,
            closed: None,
            placed: None,
            close_ns: 0,
            rename_ns: 0,
            is_told: false,
            is_removed: false,
        };
        self.known.insert(open.id, known);
        self.order.push_back(open.id);
        while self.order.len() > MAX_FILES {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        let Some(known) = self.known.remove(&id) else { return };
        if self.by_path.get(&known.path) == Some(&id) {
            self.by_path.remove(&known.path);
        }
        let file = (known.open.file.dev, known.open.file.ino);
        if self.by_file.get(&file) == Some(&id) {
            self.by_file.remove(&file);
        }
    }

    fn called(&mut self, by: By, id: u64, op: Op, class: Class, ret: i64, out: &mut Vec<Event>) {
        let took_ns = by.ts_ns.saturating_sub(by.enter_ns);
        let known = self.known.get(&id);
        let found = known.map_or(Class::Other, |known| known.class);
        if class == Class::Unknown {
            self.counted.add(found, op, Some(took_ns), ret);
        }
        // Of a database's files the kernel side tells no name.
        let class = if class == Class::Unknown { found } else { class };
        let path = known.map_or_else(String::new, |known| known.path.clone());
        slow(by, op, class, &path, out);
    }

    fn closed(&mut self, by: By, open: OpenFile, out: &mut Vec<Event>) {
        let Some(known) = self.known.get_mut(&open.id) else { return };
        known.open = open;
        known.closed = Some(by);
        known.close_ns += by.ts_ns.saturating_sub(by.enter_ns);
        if open.class != Class::Unknown as u32 {
            // Else the call was told on its own.
            slow(by, Op::Close, known.class, &known.path, out);
        }
        let event = written(open.id, known);
        known.is_told = true;
        out.push(Event::FileWritten(event));
    }

    fn named(
        &mut self,
        by: By,
        op: Op,
        ret: i64,
        (old, new): (&(String, MountPath), &(String, MountPath)),
        kernel: &mut impl Kernel,
        out: &mut Vec<Event>,
    ) {
        let took_ns = by.ts_ns.saturating_sub(by.enter_ns);
        self.n_cut_names += u64::from([old, new].iter().any(|(given, _)| given.ends_with('…')));
        let old = self.whole(by.pid, old);
        let id = self.by_path.get(&old).copied();
        let class = id.and_then(|id| self.known.get(&id)).map(|known| known.class);
        let class = class.unwrap_or_else(|| classify(&self.profile, &old));
        self.counted.add(class, op, Some(took_ns), ret);
        slow(by, op, class, &old, out);
        if op == Op::Unlink {
            if ret == 0 {
                let known = id.and_then(|id| self.known.get_mut(&id));
                if let Some(known) = known.filter(|known| known.closed.is_none() && known.path == old) {
                    known.is_removed = true;
                }
                self.by_path.remove(&old);
                if matches!(class, Class::Checkpoint | Class::Upload) {
                    out.push(Event::FileRemoved(FileRemoved { ts_ns: by.ts_ns, pid: by.pid, path: old }));
                }
            }
            return;
        }
        let new = self.whole(by.pid, new);
        // A name that nobody saw (an unnamed file linked by its descriptor) leads to its file.
        let id = id.or_else(|| {
            let there = std::fs::symlink_metadata(format!("/proc/{}/root{new}", by.pid)).ok()?;
            let (major, minor) = (nix::sys::stat::major(there.dev()), nix::sys::stat::minor(there.dev()));
            let dev = u32::try_from(major << 20 | minor).ok()?;
            self.by_file.get(&(dev, there.ino())).copied()
        });
        let Some(id) = id else {
            self.folder_moved(by, ret, (&old, &new), out);
            return;
        };
        let placed = match (ret, op) {
            (0, Op::Rename) => Placed::Rename,
            (0, _) => Placed::Link,
            _ => Placed::Failed,
        };
        let Some(known) = self.known.get_mut(&id) else { return };
        known.rename_ns += took_ns;
        if placed == Placed::Failed {
            known.open.errors += 1;
            known.open.errno = u32::try_from(ret.unsigned_abs()).unwrap_or(0);
            let mut event = written(id, known);
            (event.ts_ns, event.placed) = (by.ts_ns, placed);
            event.was = Some(std::mem::replace(&mut event.path, new));
            out.push(Event::FileWritten(event));
            return;
        }
        let before = std::mem::replace(&mut known.path, new.clone());
        known.was.get_or_insert(before);
        known.placed = Some((by, placed));
        let class = classify(&self.profile, &new);
        if class != known.class {
            known.class = class;
            kernel.classify(known.open.file, class);
        }
        if known.closed.is_some() {
            let event = written(id, known);
            known.is_told = true;
            out.push(Event::FileWritten(event));
        }
        if op == Op::Rename {
            self.by_path.remove(&old);
        }
        self.by_path.insert(new, id);
    }

    /// A directory that is renamed takes its files along.
    fn folder_moved(&mut self, by: By, ret: i64, (old, new): (&str, &str), out: &mut Vec<Event>) {
        if ret < 0 {
            return;
        }
        let below = format!("{old}/");
        let mut moved: Vec<u64> = self
            .known
            .iter()
            .filter(|(_, known)| known.path.starts_with(&below))
            .map(|(id, _)| *id)
            .collect();
        moved.sort_unstable();
        for id in moved {
            let Some(known) = self.known.get_mut(&id) else { continue };
            let path = format!("{new}/{}", &known.path[below.len()..]);
            self.by_path.remove(&known.path);
            self.by_path.insert(path.clone(), id);
            let before = std::mem::replace(&mut known.path, path);
            known.was.get_or_insert(before);
            known.placed = Some((by, Placed::Rename));
            if known.closed.is_some() && known.is_told {
                out.push(Event::FileWritten(written(id, known)));
            }
        }
    }

    /// What the application gave, as the kernel side would name it.
    fn whole(&mut self, pid: u32, (given, folder): &(String, MountPath)) -> String {
        let folder = if given.starts_with('/') { String::new() } else { self.mounts.resolve(pid, folder) };
        let path = join(&folder, given);
        if self.by_path.contains_key(&path) { path } else { self.folders.true_name(pid, &path) }
    }
}

/// Tells of a call that took long.
fn slow(by: By, op: Op, class: Class, path: &str, out: &mut Vec<Event>) {
    let took_ns = by.ts_ns.saturating_sub(by.enter_ns);
    if took_ns >= SLOW_CALL_NS {
        out.push(Event::SlowCall(SlowCall {
            ts_ns: by.ts_ns,
            pid: by.pid,
            tid: by.tid,
            op: op.id().to_owned(),
            class: class.id().to_owned(),
            path: path.to_owned(),
            took_ns,
        }));
    }
}
