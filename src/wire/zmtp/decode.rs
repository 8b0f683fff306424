//! The reading side: bytes in, items out, limits first.

use bytes::{BufMut, Bytes};

use super::encode::{COMMAND, LONG, MORE};
use super::{Item, ZmtpError, command, greeting};
use crate::wire::intake::Intake;
use crate::wire::limits::{Assembler, LimitError, Limits, Tally};
use crate::wire::message::Message;

/// Longest READY; libzmq's has about 60 bytes, other libraries add properties.
const READY_MAX: usize = 4096;

/// Longest command after READY: an ERROR with a reason of 255 bytes is the longest one known.
const COMMAND_MAX: usize = 1024;

/// Reads what one peer sends.
#[derive(Debug)]
pub struct Decoder {
    intake: Intake,
    state: State,
    tally: Tally,
    /// After an error nothing that follows can be trusted to begin where it seems to.
    failed: Option<ZmtpError>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Greeting,
    /// Between frames.
    Header {
        ready: bool,
    },
    /// Within a frame whose length was checked.
    Body {
        ready: bool,
        header: Header,
    },
}

#[derive(Clone, Copy, Debug)]
struct Header {
    command: bool,
    more: bool,
    len: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that expects a greeting.
    pub fn new() -> Self {
        Self {
            intake: Intake::new(),
            state: State::Greeting,
            tally: Tally::default(),
            failed: None,
        }
    }

    /// Room for the next read, to be handed to `AsyncReadExt::read_buf`. Never empty; grows with
    /// what was received, not with what was announced. Take all items before each read.
    pub fn space(&mut self) -> impl BufMut + Send + '_ {
        self.intake.space()
    }

    /// Where the next read goes, if it can go into a large body at once; to be preferred to
    /// [`space`](Self::space). What was read is told to [`paged`](Self::paged).
    pub fn pages(&mut self) -> Option<&mut [u8]> {
        self.intake.pages()
    }

    /// So much was read into [`pages`](Self::pages).
    pub fn paged(&mut self, read: usize) {
        self.intake.paged(read);
    }

    /// Takes bytes that were read elsewhere, for instance to detect the transport.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.intake.feed(bytes);
    }

    /// Bytes received and not yet handed on.
    pub fn buffered(&self) -> usize {
        self.intake.buffered()
    }

    /// Bytes of memory kept for reading, whether filled or not.
    pub fn allocated(&self) -> usize {
        self.intake.allocated()
    }

    /// The next complete item, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// As soon as the peer broke the protocol, or announced more than `limits` allow; the same
    /// error again whenever it is asked after that.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Item>, ZmtpError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.intake.set_ceiling(limits.frame);
        let result = self.step(limits);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Gathers frames for as long as they are all there, and short, up to the end of a message: what would come of
    /// [`next`](Self::next), frame by frame. `None` if that has to be asked what comes now.
    ///
    /// A frame goes straight to where it stays: each move of what has only just been written, in smaller pieces, has
    /// the processor wait, and three of them took longer than all else that is done for a frame.
    ///
    /// # Errors
    /// If the message is beyond the limits.
    pub fn gather(
        &mut self,
        assembler: &mut Assembler,
        limits: &Limits,
    ) -> Result<Option<Message>, LimitError> {
        while let Some((more, body)) = self.short_frame(limits) {
            let message = assembler.push(more, body, limits)?;
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// The next frame, if nothing is in doubt about it.
    #[inline(always)]
    fn short_frame(&mut self, limits: &Limits) -> Option<(bool, Bytes)> {
        if !matches!(self.state, State::Header { ready: true }) || self.failed.is_some() {
            return None;
        }
        let (&flags, rest) = self.intake.bytes().split_first()?;
        let (len, header) = match flags & !MORE {
            0 => (u64::from(*rest.first()?), 2),
            LONG => (u64::from_be_bytes(*rest.first_chunk()?), 9),
            _ => return None,
        };
        let len = self.tally.check(len, limits).ok()?;
        let body = self.intake.short_body(header, len)?;
        let more = flags & MORE != 0;
        self.tally.add(more, len);
        Some((more, body))
    }

    fn step(&mut self, limits: &Limits) -> Result<Option<Item>, ZmtpError> {
        let (ready, header) = match self.state {
            State::Greeting => {
                let greeting = greeting::parse(self.intake.bytes())?;
                if greeting.is_some() {
                    self.intake.skip(greeting::LEN);
                    self.state = State::Header { ready: false };
                }
                return Ok(greeting.map(Item::Greeting));
            }
            State::Header { ready } => {
                let Some(header) = self.header(ready, limits)? else {
                    return Ok(None);
                };
                self.state = State::Body { ready, header };
                (ready, header)
            }
            State::Body { ready, header } => (ready, header),
        };
        let Some(body) = self.intake.body(header.len) else {
            return Ok(None);
        };
        if header.command {
            let item = command::parse(&body, ready)?;
            let ready = ready || matches!(item, Item::Ready(_));
            self.state = State::Header { ready };
            return Ok(Some(item));
        }
        self.state = State::Header { ready };
        self.tally.add(header.more, header.len);
        Ok(Some(Item::Frame {
            more: header.more,
            body,
        }))
    }

    /// Takes the header of a frame, judging flags before the length has arrived and the length
    /// before any of the body has.
    fn header(&mut self, ready: bool, limits: &Limits) -> Result<Option<Header>, ZmtpError> {
        let Some((&flags, rest)) = self.intake.bytes().split_first() else {
            return Ok(None);
        };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ZmtpError::Flags(flags));
        }
        let (command, more) = (flags & COMMAND != 0, flags & MORE != 0);
        if command && more {
            return Err(ZmtpError::CommandWithMore);
        }
        if !command && !ready {
            return Err(ZmtpError::FrameBeforeReady);
        }
        let (len, size) = if flags & LONG != 0 {
            let len = rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            (len, 9)
        } else {
            (rest.first().map(|byte| u64::from(*byte)), 2)
        };
        let Some(len) = len else {
            return Ok(None);
        };
        if i64::try_from(len).is_err() {
            return Err(ZmtpError::Length(len));
        }
        // libzmq schedules heartbeats frame by frame, so that commands may come within a message.
        let len = if command {
            let limit = if ready { COMMAND_MAX } else { READY_MAX };
            usize::try_from(len)
                .ok()
                .filter(|len| *len <= limit)
                .ok_or(ZmtpError::CommandLength { len, limit })?
        } else {
            self.tally.check(len, limits)?
        };
        self.intake.skip(size);
        Ok(Some(Header { command, more, len }))
    }
}

#[cfg(test)]
mod tests;
