//! Packs what is written, where that pays: textures, caches and coordinates do not become smaller, and
//! trying takes twenty times as long as copying them.
//!
//! A gzip stream may have several members; every reader goes on with the next. So a large piece that
//! a sample shows to be of that kind becomes a member that is only stored.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress, GzBuilder};

/// Pieces from this size on are looked at.
const LARGE: usize = 64 * 1024;
/// So much is looked at in a piece, and then all of it is treated alike.
const PIECE: usize = 4 * 1024 * 1024;
/// How much of it is tried.
const SAMPLE: usize = 16 * 1024;
/// What is to be saved, in hundredths of the sample.
const WORTH: u64 = 12;

/// A gzip stream.
pub(super) struct Packer<W: Write> {
    /// `None` after an error.
    member: Option<Member<W>>,
}

enum Member<W: Write> {
    Packed(GzEncoder<W>),
    Stored(Stored<W>),
}

impl<W: Write> Packer<W> {
    /// Goes on with a stream that has begun.
    pub(super) fn new(member: GzEncoder<W>) -> Self {
        Self {
            member: Some(Member::Packed(member)),
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < LARGE {
            return self.put(bytes);
        }
        for piece in bytes.chunks(PIECE) {
            self.switch(!is_worth_it(piece))?;
            self.put(piece)?;
        }
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.member.as_mut().ok_or_else(gone)? {
            Member::Packed(member) => member.write_all(bytes),
            Member::Stored(member) => member.write_all(bytes),
        }
    }

    fn end(&mut self) -> io::Result<W> {
        match self.member.take().ok_or_else(gone)? {
            Member::Packed(member) => member.finish(),
            Member::Stored(member) => member.finish(),
        }
    }

    /// Begins another member if it is to be stored, or no longer.
    fn switch(&mut self, stores: bool) -> io::Result<()> {
        if matches!(self.member, Some(Member::Stored(_))) == stores {
            return Ok(());
        }
        let out = self.end()?;
        self.member = Some(match stores {
            true => Member::Stored(Stored::begin(out)?),
            false => Member::Packed(GzBuilder::new().write(out, Compression::fast())),
        });
        Ok(())
    }
}

/// A member whose bytes stand in it as they are (RFC 1951 3.2.4, RFC 1952 2.3). The library's own
/// takes a tenth of the time of packing for it, this a hundredth.
struct Stored<W> {
    out: W,
    crc: Crc,
}

impl<W: Write> Stored<W> {
    /// Deflate, no flags, no time, no hint, no particular system.
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    /// An empty block, the last one.
    const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];

    fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(&Self::HEAD)?;
        let crc = Crc::new();
        Ok(Self { out, crc })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for block in bytes.chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            let [low, high] = length.to_le_bytes();
            self.out.write_all(&[0, low, high, !low, !high])?;
            self.out.write_all(block)?;
        }
        self.crc.update(bytes);
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&Self::LAST)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }
}

fn gone() -> io::Error {
    io::Error::other("nothing can be written any more")
}

/// Whether something becomes smaller, as far as samples from its beginning, middle and end tell.
fn is_worth_it(piece: &[u8]) -> bool {
    let last = piece.len().saturating_sub(SAMPLE);
    let (mut given, mut packed) = (0u64, 0u64);
    for from in [0, last / 2, last] {
        let sample = piece.get(from..).unwrap_or_default();
        let sample = sample.get(..SAMPLE).unwrap_or(sample);
        let mut out = Vec::with_capacity(SAMPLE.saturating_mul(2));
        let mut compress = Compress::new(Compression::fast(), false);
        let done = compress.compress_vec(sample, &mut out, FlushCompress::Finish);
        if done.is_err() {
            return true;
        }
        given = given.saturating_add(sample.len() as u64);
        packed = packed.saturating_add(out.len() as u64);
    }
    given.saturating_sub(packed).saturating_mul(100) >= given.saturating_mul(WORTH)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use rand::rngs::StdRng;
    use rand::{RngCore, SeedableRng};

    use super::*;

    #[test]
    fn what_does_not_become_smaller_is_stored_and_all_of_it_comes_back() {
        let mut noise = vec![0; 3 << 20];
        StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        let text = b"all work and no play makes Jack a dull boy. ".repeat(50_000);
        let parts: [&[u8]; 6] = [b"head", &noise, b"between", &text, &noise, b"end"];
        let begun = GzBuilder::new()
            .comment("ours")
            .write(Vec::new(), Compression::fast());
        let mut packer = Packer::new(begun);
        for part in parts {
            packer.write_all(part).unwrap();
        }
        let packed = packer.finish().unwrap();
        let mut read = Vec::new();
        let mut decoder = MultiGzDecoder::new(&packed[..]);
        decoder.read_to_end(&mut read).unwrap();
        assert_eq!(read, parts.concat());
        let least = 2 * noise.len();
        assert!(packed.len() > least && packed.len() < least + text.len() / 10);
    }

    #[test]
    fn samples_tell() {
        let mut noise = vec![0; LARGE];
        StdRng::seed_from_u64(2).fill_bytes(&mut noise);
        assert!(!is_worth_it(&noise));
        assert!(is_worth_it(&vec![7; LARGE]));
    }
}
