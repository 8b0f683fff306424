//! The bytes of the pickle, unpacked while they are read, and no more of them than allowed.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::about::About;
use super::error::FileError;

/// Bytes that are read from the file, or unpacked, at a time.
const BLOCK: usize = 256 * 1024;
/// What is believed of an announced length before that many bytes have come.
const BELIEVED: usize = 64 * 1024;
/// More need not be remembered: what stands before the nodes is short.
const HEAD: usize = 16 << 20;
/// Longest line of a pickle: the name of something, or a number.
const LINE: usize = 256;

type Packed<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

/// What was packed is unpacked; a bare pickle is taken as well, as the add-on takes it.
enum Source<R: Read> {
    Gzip(Box<MultiGzDecoder<Packed<R>>>),
    Bare(Packed<R>),
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.read(into),
            Self::Bare(bare) => bare.read(into),
        }
    }
}

/// A file that is being read.
pub(super) struct Input<R: Read> {
    source: BufReader<Source<R>>,
    /// Bytes that may come in all.
    limit: u64,
    /// Bytes that have come.
    taken: u64,
    /// What has come, until it is known that it is not needed again.
    head: Option<Vec<u8>>,
}

impl<R: Read> Input<R> {
    pub(super) fn open(mut input: R) -> Result<(Self, Option<About>), FileError> {
        let mut first = Vec::new();
        let begun = input.by_ref().take(2).read_to_end(&mut first);
        begun.map_err(FileError::Io)?;
        let kind = <[u8; 2]>::try_from(first.as_slice());
        let packed = BufReader::with_capacity(BLOCK, Cursor::new(first).chain(input));
        let (source, about) = match kind {
            Ok([0x1f, 0x8b]) => {
                let gzip = MultiGzDecoder::new(packed);
                let comment = gzip.header().and_then(|header| header.comment());
                let about = comment.and_then(About::from_comment);
                (Source::Gzip(Box::new(gzip)), about)
            }
            Ok([0x80, 2..=5]) => (Source::Bare(packed), None),
            Err(_) => return Err(FileError::Truncated),
            Ok(_) => return Err(FileError::NoFile),
        };
        let input = Self {
            source: BufReader::with_capacity(BLOCK, source),
            limit: 0,
            taken: 0,
            head: Some(Vec::new()),
        };
        Ok((input, about))
    }

    /// From now on no more than so many bytes come in all.
    pub(super) fn limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Bytes that have come.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Where the last byte that came is, for messages.
    pub(super) fn at(&self) -> usize {
        usize::try_from(self.taken)
            .unwrap_or(usize::MAX)
            .saturating_sub(1)
    }

    /// What came until now is not needed again.
    pub(super) fn forget(&mut self) {
        self.head = None;
    }

    fn charge(&mut self, bytes: u64) -> Result<(), FileError> {
        let left = self.limit.saturating_sub(self.taken);
        if bytes > left {
            return Err(FileError::TooLarge { limit: self.limit });
        }
        self.taken = self.taken.saturating_add(bytes);
        Ok(())
    }

    fn remember(&mut self, bytes: &[u8]) {
        if let Some(head) = &mut self.head {
            head.extend_from_slice(bytes);
            if head.len() > HEAD {
                self.head = None;
            }
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, FileError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        self.charge(N as u64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(fault)?;
        self.remember(&bytes);
        Ok(bytes)
    }

    /// A length of 1, 4 or 8 bytes.
    pub(super) fn length(&mut self, width: usize) -> Result<u64, FileError> {
        Ok(match width {
            1 => self.byte()?.into(),
            4 => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        })
    }

    /// So many bytes. Memory follows what comes.
    pub(super) fn take(&mut self, length: usize) -> Result<Vec<u8>, FileError> {
        self.charge(length as u64)?;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let missing = length.saturating_sub(bytes.len());
            let more = missing.min(bytes.len().max(BELIEVED));
            bytes.reserve_exact(more);
            let mut part = self.source.by_ref().take(more as u64);
            if part.read_to_end(&mut bytes).map_err(fault)? < more {
                return Err(FileError::Truncated);
            }
        }
        self.remember(&bytes);
        Ok(bytes)
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), FileError> {
        let mut left = length;
        while left > 0 {
            let part = left.min(BELIEVED as u64);
            self.take(usize::try_from(part).unwrap_or(BELIEVED))?;
            left = left.saturating_sub(part);
        }
        Ok(())
    }

    /// Passes over a line.
    pub(super) fn line(&mut self) -> Result<(), FileError> {
        for _ in 0..=LINE {
            if self.byte()? == b'\n' {
                return Ok(());
            }
        }
        Err(FileError::Shape("it has a very long name in it"))
    }

    /// Makes sure that this is the end, and that the checksum is right.
    pub(super) fn end(&mut self) -> Result<(), FileError> {
        match self.source.fill_buf().map_err(fault)? {
            [] => Ok(()),
            _ => Err(FileError::Trailing),
        }
    }

    /// Everything from the beginning on. `None` if the beginning was forgotten.
    pub(super) fn whole(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        let Some(mut whole) = self.head.take() else {
            return Ok(None);
        };
        loop {
            let block = self.source.fill_buf().map_err(fault)?;
            let length = block.len();
            if length == 0 {
                return Ok(Some(whole));
            }
            let left = self.limit.saturating_sub(self.taken);
            if length as u64 > left {
                return Err(FileError::TooLarge { limit: self.limit });
            }
            whole.extend_from_slice(block);
            self.source.consume(length);
            self.taken = self.taken.saturating_add(length as u64);
        }
    }
}

/// What an error of the unpacker means.
fn fault(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::Truncated,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            FileError::Damaged(error.to_string())
        }
        _ => FileError::Io(error),
    }
}
