//! A disk in memory on which any operation can fail, and which forgets at a power cut what was not
//! synced, or any part of that.
//!
//! Files are known by paths that stay theirs when a directory above them is renamed ([`Dirs`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::store::disk::{Disk, DiskFile, How};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power fails: this operation may happen in part, none after it does.
    Cut,
    /// This operation fails, and does nothing. What could not be synced is taken for synced.
    Once(ErrorKind),
    /// A write is done in part and fails for want of space.
    Short,
    /// There is no space from here on.
    Full,
    /// Nothing works from here on.
    Broken,
}

const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    unreadable: Range<usize>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Pending {
    /// How long it makes a file, at least.
    fn end(&self) -> usize {
        match self {
            Self::Write(offset, bytes) => offset + bytes.len(),
            Self::Len(len) => *len,
        }
    }
}

#[derive(Clone, Debug)]
enum Naming {
    Set(PathBuf, usize),
    Gone(PathBuf),
    /// A directory, and what has its old place now.
    Dir {
        from: PathBuf,
        to: PathBuf,
        fresh: PathBuf,
    },
}

/// Where directories that were renamed, and those in their old places, have their files.
#[derive(Clone, Debug, Default)]
struct Dirs(BTreeMap<PathBuf, PathBuf>);

impl Dirs {
    /// The path that stays, of one that is seen.
    fn inner(&self, seen: &Path) -> PathBuf {
        let mut above = seen.ancestors();
        let found = above.find_map(|dir| Some((dir, self.0.get(dir)?)));
        match found {
            Some((dir, inner)) => inner.join(seen.strip_prefix(dir).unwrap()),
            None => seen.to_owned(),
        }
    }

    /// The path under which that is seen.
    fn seen(&self, inner: &Path) -> PathBuf {
        let found = self.0.iter().find(|(_, dir)| inner.starts_with(dir));
        match found {
            Some((seen, dir)) => seen.join(inner.strip_prefix(dir).unwrap()),
            None => inner.to_owned(),
        }
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf, fresh: PathBuf) {
        let moved = self.inner(&from);
        self.0.insert(from, fresh);
        self.0.insert(to, moved);
    }
}

#[derive(Debug)]
struct World {
    inodes: HashMap<usize, Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    renamings: Vec<Naming>,
    dirs: Dirs,
    durable_dirs: Dirs,
    synced: BTreeSet<PathBuf>,
    done: usize,
    read: usize,
    space: usize,
    fault: Option<(usize, Fault)>,
    dead: bool,
    /// Files cannot be opened to be read.
    unread: bool,
    /// Directories keep their names.
    fixed: bool,
    random: StdRng,
}

/// The disk.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct MemoryFile(MemoryDisk, usize);

impl MemoryDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            inodes: HashMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamings: Vec::new(),
            dirs: Dirs::default(),
            durable_dirs: Dirs::default(),
            synced: BTreeSet::new(),
            done: 0,
            read: 0,
            space: usize::MAX,
            fault: None,
            dead: false,
            unread: false,
            fixed: false,
            random: StdRng::seed_from_u64(seed),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// How many operations that change something there were.
    pub(crate) fn done(&self) -> usize {
        self.world().done
    }

    /// How many bytes were read.
    pub(crate) fn read(&self) -> usize {
        self.world().read
    }

    /// The directories that were synced.
    pub(crate) fn synced(&self) -> BTreeSet<PathBuf> {
        self.world().synced.clone()
    }

    /// Leaves so many bytes free.
    pub(crate) fn leave(&self, free: usize) {
        let mut world = self.world();
        world.space = world.used().saturating_add(free);
    }

    /// What goes wrong, so many operations from the beginning.
    pub(crate) fn fail_at(&self, operation: usize, fault: Fault) {
        self.world().fault = Some((operation, fault));
    }

    /// From now on.
    pub(crate) fn fail_now(&self, fault: Fault) {
        let now = self.done();
        self.fail_at(now, fault);
    }

    /// Whether files can be opened to be read: a process may have too many open, for example.
    pub(crate) fn can_be_read(&self, can: bool) {
        self.world().unread = !can;
    }

    /// Whether directories can get another name: what is mounted somewhere cannot.
    pub(crate) fn can_be_renamed(&self, can: bool) {
        self.world().fixed = !can;
    }

    pub(crate) fn heal(&self) {
        let mut world = self.world();
        world.fault = None;
        world.dead = false;
    }

    /// Forgets of what was not synced nothing, some or all.
    pub(crate) fn cut_power(&self) {
        let world = &mut *self.world();
        let chance = *[0.0, 0.2, 0.5, 0.8, 1.0]
            .get(world.random.random_range(0..5))
            .unwrap();
        let kept = match chance {
            0.0 => 0,
            1.0 => world.renamings.len(),
            _ => world.random.random_range(0..=world.renamings.len()),
        };
        for naming in world.renamings.drain(..).take(kept) {
            apply_name(&mut world.durable_names, &mut world.durable_dirs, naming);
        }
        world.names = world.durable_names.clone();
        world.dirs = world.durable_dirs.clone();
        let mut inodes: Vec<_> = world.inodes.iter_mut().collect();
        inodes.sort_by_key(|(number, _)| **number);
        for (_, inode) in inodes {
            for pending in std::mem::take(&mut inode.pending) {
                match pending {
                    Pending::Len(len) if world.random.random_bool(chance) => {
                        inode.durable.resize(len, 0);
                    }
                    Pending::Len(_) => {}
                    Pending::Write(offset, bytes) => {
                        for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                            if world.random.random_bool(chance) {
                                put(&mut inode.durable, offset + n * SECTOR, sector);
                            }
                        }
                    }
                }
            }
            inode.seen = inode.durable.clone();
        }
        world.fault = None;
        world.dead = false;
    }

    /// The bytes of a file, to damage them: also those on the disk.
    pub(crate) fn damage(&self, path: &Path, damage: impl Fn(&mut Vec<u8>)) {
        let world = &mut *self.world();
        let path = world.dirs.inner(path);
        let inode = world.inodes.get_mut(&world.names[&path]).unwrap();
        damage(&mut inode.seen);
        inode.durable = inode.seen.clone();
        inode.pending.clear();
    }

    /// Part of a file can be read no more.
    pub(crate) fn spoil(&self, path: &Path, unreadable: Range<usize>) {
        let world = &mut *self.world();
        let path = world.dirs.inner(path);
        let inode = world.inodes.get_mut(&world.names[&path]).unwrap();
        inode.unreadable = unreadable;
    }

    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let world = self.world();
        let files = world.names.iter();
        files
            .map(|(path, inode)| (world.dirs.seen(path), world.inodes[inode].seen.clone()))
            .collect()
    }

    pub(crate) fn forget(&self, path: &Path) {
        let world = &mut *self.world();
        let path = world.dirs.inner(path);
        world.names.remove(&path);
        world.durable_names.remove(&path);
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn apply_name(names: &mut BTreeMap<PathBuf, usize>, dirs: &mut Dirs, naming: Naming) {
    match naming {
        Naming::Dir { from, to, fresh } => dirs.rename(from, to, fresh),
        Naming::Set(path, inode) => {
            names.retain(|_, named| *named != inode);
            names.insert(path, inode);
        }
        Naming::Gone(path) => {
            names.remove(&path);
        }
    }
}

impl World {
    /// Counts an operation: `Ok(true)` if it is to be done in part only, and then fails.
    fn step(&mut self, takes_space: bool) -> io::Result<bool> {
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        let now = self.done;
        self.done += 1;
        match self.fault {
            Some((at, Fault::Full)) if at <= now && takes_space => {
                Err(ErrorKind::StorageFull.into())
            }
            Some((at, Fault::Broken)) if at <= now => Err(io::Error::other("broken")),
            Some((at, Fault::Cut)) if at == now => {
                self.dead = true;
                Ok(true)
            }
            Some((at, Fault::Once(kind))) if at == now => Err(kind.into()),
            Some((at, Fault::Short)) if at == now => Ok(true),
            _ => Ok(false),
        }
    }

    /// Whether there is such a file, or a directory with files.
    fn has(&self, path: &Path) -> bool {
        let inner = self.dirs.inner(path);
        let mut names = self.names.keys();
        names.any(|name| name.starts_with(&inner))
    }

    /// Bytes of all files.
    fn used(&self) -> usize {
        let files = self.names.values().map(|inode| &self.inodes[inode]);
        files.map(|file| file.seen.len()).sum()
    }

    fn name(&mut self, naming: Naming) {
        apply_name(&mut self.names, &mut self.dirs, naming.clone());
        self.renamings.push(naming);
    }
}

fn partly(part: bool) -> io::Result<()> {
    match part {
        true => Err(ErrorKind::StorageFull.into()),
        false => Ok(()),
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        partly(self.world().step(true)?)
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn DiskFile>> {
        let world = &mut *self.world();
        if how == How::Read && world.unread {
            return Err(ErrorKind::Other.into());
        }
        let path = world.dirs.inner(path);
        let inode = match world.names.get(&path) {
            Some(inode) if how != How::Anew => *inode,
            _ if how == How::Read => return Err(ErrorKind::NotFound.into()),
            _ => {
                let part = world.step(true)?;
                let inode = world.inodes.len();
                world.inodes.insert(inode, Inode::default());
                world.name(Naming::Set(path, inode));
                partly(part)?;
                inode
            }
        };
        Ok(Box::new(MemoryFile(self.clone(), inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        let part = world.step(true)?;
        let inner = world.dirs.inner(from);
        let naming = match world.names.get(&inner) {
            Some(inode) => Naming::Set(world.dirs.inner(to), *inode),
            None if !world.has(from) => return Err(ErrorKind::NotFound.into()),
            None if world.fixed => return Err(ErrorKind::ResourceBusy.into()),
            None if world.has(to) => return Err(ErrorKind::DirectoryNotEmpty.into()),
            None => Naming::Dir {
                from: from.to_owned(),
                to: to.to_owned(),
                fresh: Path::new("/renamed").join(world.done.to_string()),
            },
        };
        world.name(naming);
        partly(part)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        let part = world.step(false)?;
        let path = world.dirs.inner(path);
        world.name(Naming::Gone(path));
        partly(part)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        partly(world.step(false)?)?;
        world.synced.insert(dir.to_owned());
        let inner = world.dirs.inner(dir);
        for naming in std::mem::take(&mut world.renamings) {
            let is_here = match &naming {
                Naming::Set(path, _) | Naming::Gone(path) => path.parent() == Some(&inner),
                Naming::Dir { to, .. } => to.parent() == Some(dir),
            };
            match is_here {
                true => apply_name(&mut world.durable_names, &mut world.durable_dirs, naming),
                false => world.renamings.push(naming),
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let world = self.world();
        let dir = world.dirs.inner(dir);
        let mut files = Vec::new();
        for (path, inode) in &world.names {
            if path.parent() == Some(&dir) {
                let name = path.file_name().unwrap().to_str().unwrap();
                files.push((name.to_owned(), world.inodes[inode].seen.len() as u64));
            }
        }
        Ok(files)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.world().has(path))
    }
}

impl MemoryFile {
    fn change(&self, pending: Pending) -> io::Result<()> {
        let world = &mut *self.0.world();
        let there = world.inodes[&self.1].seen.len();
        let cuts = matches!(pending, Pending::Len(len) if len <= there);
        let part = world.step(!cuts)?;
        let more = pending.end().saturating_sub(there);
        if world.space < usize::MAX && more > world.space.saturating_sub(world.used()) {
            return Err(ErrorKind::StorageFull.into());
        }
        let inode = world.inodes.get_mut(&self.1).unwrap();
        let pending = match pending {
            Pending::Write(offset, mut bytes) if part => {
                bytes.truncate(bytes.len() / 2);
                Pending::Write(offset, bytes)
            }
            pending => pending,
        };
        match &pending {
            Pending::Write(offset, bytes) => put(&mut inode.seen, *offset, bytes),
            Pending::Len(len) => inode.seen.resize(*len, 0),
        }
        inode.pending.push(pending);
        partly(part)
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.world().inodes[&self.1].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut world = self.0.world();
        world.read += into.len();
        let offset = usize::try_from(offset).unwrap();
        let inode = &world.inodes[&self.1];
        let end = offset + into.len();
        if offset < inode.unreadable.end && inode.unreadable.start < end {
            return Err(io::Error::from_raw_os_error(5));
        }
        let found = inode.seen.get(offset..end);
        into.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.change(Pending::Write(offset, bytes.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Pending::Len(usize::try_from(len).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let world = &mut *self.0.world();
        let step = world.step(false);
        let inode = world.inodes.get_mut(&self.1).unwrap();
        if !matches!(step, Ok(false)) {
            if !world.dead {
                // The system forgets that it had to write this, and some of it never was.
                let before = inode.pending.len();
                let kept = world.random.random_range(0..=before);
                inode.pending.truncate(kept);
                for pending in std::mem::take(&mut inode.pending) {
                    persist(inode, pending);
                }
            }
            return Err(step
                .err()
                .unwrap_or_else(|| io::Error::other("sync failed")));
        }
        for pending in std::mem::take(&mut inode.pending) {
            persist(inode, pending);
        }
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

fn persist(inode: &mut Inode, pending: Pending) {
    match pending {
        Pending::Write(offset, bytes) => put(&mut inode.durable, offset, &bytes),
        Pending::Len(len) => inode.durable.resize(len, 0),
    }
}
