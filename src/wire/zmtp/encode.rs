//! Messages as ZMTP frames.

use bytes::BufMut;

use crate::wire::gather::Gather;
use crate::wire::message::{Encoded, Message, Parts};

/// Flag: further frames of this message follow.
pub(super) const MORE: u8 = 1;
/// Flag: the length takes eight bytes.
pub(super) const LONG: u8 = 2;
/// Flag: the frame is a command.
pub(super) const COMMAND: u8 = 4;

/// Longest header: flags and a length of eight bytes.
const HEADER_MAX: usize = 9;

/// One message as ZMTP frames. Small frames are merged into one segment, big ones are shared. A
/// message without frames cannot be expressed and is empty here.
pub fn encode(message: &Message) -> Encoded {
    encode_all(std::slice::from_ref(message))
}

/// Several messages that belong together, to be written one after the other.
pub fn encode_all(messages: &[impl Parts]) -> Encoded {
    let mut gather = Gather::for_messages(messages, HEADER_MAX);
    for message in messages {
        let mut frames = message.parts().peekable();
        while let Some(frame) = frames.next() {
            let flags = if frames.peek().is_some() { MORE } else { 0 };
            put_header(gather.header(), flags, frame.len());
            gather.body(frame);
        }
    }
    gather.finish()
}

/// Writes the header of a frame, in the short form where it fits.
pub(super) fn put_header(to: &mut impl BufMut, flags: u8, len: usize) {
    if let Ok(len) = u8::try_from(len) {
        to.put_u8(flags);
        to.put_u8(len);
    } else {
        to.put_u8(flags | LONG);
        to.put_u64(u64::try_from(len).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn small_messages_are_one_segment() {
        let message = Message::new(vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from(vec![7; 256]),
        ]);
        let encoded = encode(&message);
        let mut expected = b"\x01\x02ab\x01\x00\x02\0\0\0\0\0\0\x01\0".to_vec();
        expected.extend([7; 256]);
        assert_eq!(encoded.segments(), [Bytes::from(expected)]);
        assert!(encode(&Message::default()).is_empty());
    }

    #[test]
    fn big_frames_are_shared() {
        let big = Bytes::from(vec![7; 100_000]);
        let message = Message::new(vec![
            Bytes::from_static(b"a"),
            big.clone(),
            Bytes::from_static(b"b"),
        ]);
        let encoded = encode_all(&[message.clone(), message]);
        let lens: Vec<_> = encoded.segments().iter().map(Bytes::len).collect();
        assert_eq!(lens, [3 + 9, 100_000, 3 + 3 + 9, 100_000, 3]);
        assert_eq!(encoded.segments()[1].as_ptr(), big.as_ptr());
        assert_eq!(encoded.len(), lens.iter().sum::<usize>());
    }

    #[test]
    fn a_frame_in_pieces_is_one_frame() {
        let pieces = [vec![1; 3], vec![2; 5000], vec![3; 2]].map(Bytes::from);
        let a = Bytes::from_static(b"a");
        let whole = Message::new(vec![a.clone(), pieces.concat().into()]);
        let message = Message::with_last(vec![a], pieces.to_vec());
        assert_eq!(message.payload_len(), whole.payload_len());
        let encoded = encode(&message);
        assert_eq!(encoded.segments()[1].as_ptr(), pieces[1].as_ptr());
        assert_eq!(
            encoded.segments().concat(),
            encode(&whole).segments().concat()
        );
    }
}
