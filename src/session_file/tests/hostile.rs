//! Files that are broken, too large, or made to do harm.

use super::*;

#[test]
fn limits_hold() {
    for format in FORMATS {
        let nodes: Vec<_> = (0..10)
            .map(|n| state(n, format, payload(format, n)))
            .collect();
        let file = file(format, &nodes);
        let all = Limits::default();
        let few = Limits { nodes: 9, ..all };
        assert!(matches!(
            take(&file, &few),
            Err(FileError::TooManyNodes { limit: 9 })
        ));
        let bytes = unpacked(&file).len() as u64;
        assert!(take(&file, &Limits { bytes, ..all }).is_ok());
        let limit = bytes - 1;
        assert!(matches!(
            take(&file, &Limits { bytes: limit, ..all }),
            Err(FileError::TooLarge { limit: found }) if found == limit
        ));
        let mut short = all;
        short.node.payload = 9;
        short.policy.budget.bytes = 9;
        let error = take(&file, &short).unwrap_err();
        assert!(
            matches!(error, FileError::Node { number: 1, .. }),
            "{error}"
        );
    }
}

/// Sixteen megabytes of zeros in some kilobytes.
#[test]
fn a_bomb_takes_no_memory_and_ends_at_the_limit() {
    let mut start = b"\x80\x04}\x8c\x05nodes](](C\x05\x80\x04K\x02.C\x24".to_vec();
    start.extend(id(0).as_bytes());
    start.extend(b"C\x06COMMONC\x04\x80\x04].B\xff\xff\xff\0");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&start).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..16).for_each(|_| gzip.write_all(&zeros).unwrap());
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 1 << 18);
    // The chunk is longer than a node may be.
    let mut limits = Limits::default();
    limits.node.payload = 1 << 20;
    let error = take(&bomb, &limits).unwrap_err();
    let what = "node 1 of the file: it is longer than";
    assert!(error.to_string().starts_with(what), "{error}");
    // A file may not be so long.
    limits.node.payload = 32 << 20;
    limits.bytes = 1 << 20;
    assert!(matches!(
        take(&bomb, &limits),
        Err(FileError::TooLarge { .. })
    ));
    // A file that is read as a whole.
    let mut whole = b"\x80\x04}\x8c\x05nodes](\x8c\x24".to_vec();
    whole.extend(id(0).as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&whole).unwrap();
    (0..8).for_each(|_| gzip.write_all(&zeros).unwrap());
    assert!(matches!(
        take(&gzip.finish().unwrap(), &limits),
        Err(FileError::TooLarge { .. })
    ));
}

#[test]
fn a_text_that_grows_by_reference_is_refused() {
    // 30 levels of lists of the one below, twice each.
    let mut data = b"}\x8c\x01x]\x94".to_vec();
    (0..30u8).for_each(|level| data.extend([b']', 0x94, b'(', b'h', level, b'h', level, b'e']));
    data.push(b's');
    let mut whole = b"\x80\x04}\x8c\x05nodes]\x8c\x24".to_vec();
    whole.extend(id(0).as_bytes());
    whole.extend(b"}(\x8c\x05owner\x8c\x01x\x8c\x0cdependenciesN\x8c\x04data");
    whole.extend(&data);
    whole.extend(b"u\x86as.");
    assert!(matches!(
        read(&gzip(&whole)),
        Err(FileError::Pickle(
            pickle::PickleError::Budget { .. }
                | pickle::PickleError::Operand { .. }
                | pickle::PickleError::Leftover
        ))
    ));
}

#[test]
fn broken_files_say_what_is_wrong() {
    let node = state(0, Format::Chunks, payload(Format::Chunks, 0));
    let good = file(Format::Chunks, &[node]);
    let says = |file: &[u8], expected: &str| {
        let error = read(file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    says(b"", "ends too early");
    says(b"PK\x03\x04", "neither gzip nor a pickle");
    says(&good[..good.len() / 2], "ends too early");
    says(&good[..good.len() - 1], "ends too early");
    says(&[&good[..], b"something else"].concat(), "damaged");
    says(&[&good[..], &gzip(b"x")].concat(), "something follows");
    let mut bad = good.clone();
    let checksum = bad.len() - 6;
    bad[checksum] ^= 1;
    says(&bad, "damaged");
    let mut pickle = unpacked(&good);
    says(&gzip(&[&pickle[..], b"x"].concat()), "something follows");
    pickle.pop();
    says(&gzip(&pickle), "ends too early");
    // Several members are one file.
    let (one, two) = pickle.split_at(40);
    let members = [gzip(one), gzip(b""), gzip(two), gzip(b".")].concat();
    assert_eq!(read(&members).unwrap().0.len(), 1);

    let begin = b"\x80\x04}\x8c\x05nodes";
    for (rest, expected) in [
        (&b"}s."[..], "no list"),
        (b"]s\x8c\x01xK\x01s", "ends too early"),
        (b"]]as.", "no list of five"),
        (b"](K\x01es.", "no list of five"),
        (b"](](K\x01ees.", "no list of five"),
        (
            b"](](C\x01aC\x01aC\x01aC\x01aC\x01aees.",
            "node 1 of the file",
        ),
        (
            b"](](C\x01aC\x01aC\x01aC\x01aC\x01aC\x01aees.",
            "no list of five",
        ),
        (b"]Ks.", "no dict"),
        (b"]s\x82\x01.", "EXT1"),
        (b"]s0.", "POP"),
        (b"]s\x8c\x05nodes]s.", "no list"),
        (b"h\x05s.", "memo"),
        (b"](]\x94h\x00es.", "refers back"),
        (b"](\x8c\x01xes.", "node 1 of the file"),
        (b"](\x8c\x24", "pickle ends early"),
        (b"]\x85s.", "do not belong"),
    ] {
        says(&[&begin[..], rest].concat(), expected);
    }
    for (pickle, expected) in [
        (&b"\x80\x04}."[..], "no nodes"),
        (b"\x80\x04].", "no dict"),
        (b"\x80\x04N.", "no dict"),
        (b"\x80\x04e.", "not there"),
        (b"\x80\x04}\x8c\x06family\x8c\x01xs.", "not known"),
    ] {
        says(pickle, expected);
    }
}
