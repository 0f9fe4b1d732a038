//! Text of another encoding as UTF-8, while it is read.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

/// Bytes that are decoded at once.
const BUFFER: usize = 1 << 16;
/// What is no text of the encoding becomes this byte, which is never part of UTF-8: the reader of rows then tells where.
const NO_TEXT: u8 = 0xff;

/// The encoding of a text: the one that is named, where the text does not begin with the mark of another one.
pub(super) fn encoding(label: Option<&str>, first: &[u8]) -> &'static Encoding {
    let marked = Encoding::for_bom(first).map(|(encoding, _)| encoding);
    marked.or_else(|| Encoding::for_label(label?.as_bytes())).unwrap_or(UTF_8)
}

/// The bytes as UTF-8.
pub(super) fn decoded(bytes: Box<dyn Read + Send>, encoding: &'static Encoding) -> Box<dyn Read + Send> {
    if encoding == UTF_8 {
        return bytes;
    }
    Box::new(Decoded { bytes, decoder: encoding.new_decoder(), text: Vec::new(), read: 0, is_at_end: false })
}

struct Decoded {
    bytes: Box<dyn Read + Send>,
    decoder: Decoder,
    /// UTF-8, of which so much was read.
    text: Vec<u8>,
    read: usize,
    is_at_end: bool,
}

impl Decoded {
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let length = self.bytes.read(&mut buffer)?;
        self.is_at_end = length == 0;
        self.text.clear();
        self.read = 0;
        let mut rest = &buffer[..length];
        loop {
            let most = self.decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(BUFFER);
            let before = self.text.len();
            self.text.resize(before + most, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut self.text[before..], self.is_at_end);
            self.text.truncate(before + written);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.text.push(NO_TEXT),
            }
        }
    }
}

impl Read for Decoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.text.len() && !self.is_at_end {
            self.fill()?;
        }
        let length = (self.text.len() - self.read).min(into.len());
        into[..length].copy_from_slice(&self.text[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}

/// Whether all of it is UTF-8.
pub(super) fn is_utf8(mut bytes: impl Read) -> io::Result<bool> {
    let (mut buffer, mut kept) = (vec![0; BUFFER], 0);
    loop {
        let length = bytes.read(&mut buffer[kept..])?;
        let end = kept + length;
        match std::str::from_utf8(&buffer[..end]) {
            Ok(_) => kept = 0,
            // A character may go on in the next bytes.
            Err(e) if e.error_len().is_none() && length > 0 => {
                buffer.copy_within(e.valid_up_to()..end, 0);
                kept = end - e.valid_up_to();
            }
            Err(_) => return Ok(false),
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn text(bytes: &[u8], label: Option<&str>) -> Vec<u8> {
        let mut text = Vec::new();
        let encoding = encoding(label, bytes);
        decoded(Box::new(Cursor::new(bytes.to_vec())), encoding).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn text_of_any_encoding_becomes_utf8() {
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("ä€𝄞".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(text(&utf16, None), "ä€𝄞".as_bytes());
        let turned: Vec<u8> = [0xfe, 0xff].into_iter().chain("ä€𝄞".encode_utf16().flat_map(u16::to_be_bytes)).collect();
        assert_eq!(text(&turned, Some("latin1")), "ä€𝄞".as_bytes(), "a mark says it");
        assert_eq!(text(b"M\xfcller \x80", Some("latin1")), "Müller €".as_bytes());
        assert_eq!(text("Müller".as_bytes(), None), "Müller".as_bytes());
        let long = "ü".repeat(BUFFER);
        assert_eq!(text(&vec![0xfc; BUFFER], Some("latin1")), long.as_bytes());
        // Half a surrogate pair is no text.
        assert_eq!(text(&[0x61, 0, 0x00, 0xd8], Some("utf-16le")), [b'a', NO_TEXT]);
    }

    #[test]
    fn what_is_no_utf8_is_told_wherever_it_stands() {
        for length in [BUFFER - 1, BUFFER, BUFFER + 1] {
            let whole = format!("{}ü€", "x".repeat(length));
            assert!(is_utf8(whole.as_bytes()).unwrap());
            assert!(!is_utf8(&whole.as_bytes()[..whole.len() - 1]).unwrap());
            assert!(!is_utf8(&[whole.as_bytes(), b"\xfcx"].concat()[..]).unwrap());
        }
    }
}
