//! Files to publish: small, whole, one of each kind that matters.

/// A safetensors file of one 2×2 float tensor whose four values come from `seed`, so that each seed has its own digest.
pub fn safetensors(seed: u32) -> Vec<u8> {
    let header = br#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let mut file = Vec::new();
    file.extend_from_slice(&u64::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header);
    for value in 0..4_u32 {
        file.extend_from_slice(&(seed.wrapping_mul(4).wrapping_add(value)).to_le_bytes());
    }
    file
}

/// A safetensors file of about so many octets.
pub fn large_safetensors(octets: usize, seed: u8) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{octets}],"data_offsets":[0,{octets}]}}}}"#);
    let mut file = Vec::with_capacity(octets + header.len() + 8);
    file.extend_from_slice(&u64::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    // No two blocks alike, so that a block that got lost or came twice is seen.
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761).wrapping_add(1);
    file.extend(
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .take(octets),
    );
    file
}

/// A pickle (protocol 2) of the dict `{"a": seed}`: no globals at all.
pub fn harmless_pickle(seed: u8) -> Vec<u8> {
    let mut file = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K".to_vec();
    file.push(seed);
    file.extend_from_slice(b"s.");
    file
}

/// A pickle that would run a command when loaded: `os.system("true")`.
pub fn hostile_pickle() -> Vec<u8> {
    b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.".to_vec()
}

/// A `.npy` file (version 1) of three float64 values.
pub fn npy() -> Vec<u8> {
    let dict = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }";
    let unpadded = 10 + dict.len() + 1;
    let padding = unpadded.div_ceil(64) * 64 - unpadded;
    let header = format!("{dict}{}\n", " ".repeat(padding));
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    for value in [1.0_f64, 2.5, -3.0] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file
}

/// A GGUF file (version 3) without tensors and with one string of metadata.
pub fn gguf() -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend_from_slice(&3_u32.to_le_bytes());
    file.extend_from_slice(&0_u64.to_le_bytes());
    file.extend_from_slice(&1_u64.to_le_bytes());
    for (octets, kind) in [(&b"general.architecture"[..], Some(8_u32)), (&b"llama"[..], None)] {
        file.extend_from_slice(&u64::try_from(octets.len()).unwrap().to_le_bytes());
        file.extend_from_slice(octets);
        if let Some(kind) = kind {
            file.extend_from_slice(&kind.to_le_bytes());
        }
    }
    file
}

/// Lower-case hex SHA-256.
pub fn sha256(octets: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(octets))
}
