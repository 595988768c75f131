//! The files that made-up versions share: small, real, inspected and found clean, in the blob store under their digests.
//! Knows what a safetensors file and its configuration look like; refuses to know versions.

use std::io;

use common::digest::Digest;
use common::name::ArtifactPath;
use daemon::blobs::Blobs;
use daemon::inspect::{Limits, Ruleset, Verdict, inspect};
use daemon::store::records::ArtifactRecord;

use super::made::mix;
use crate::samples::sha256;

/// Distinct files of weights.
const WEIGHTS: u32 = 256;
/// Distinct configurations.
const CONFIGS: u32 = 64;

/// Files that are there, as versions name them.
#[derive(Debug)]
pub struct Files {
    weights: Vec<(ArtifactRecord, u64)>,
    configs: Vec<ArtifactRecord>,
}

impl Files {
    /// Makes them and keeps them in the blob store.
    ///
    /// # Errors
    /// The store can't keep one, or inspection doesn't find one clean.
    pub fn keep(blobs: &dyn Blobs, seed: u64) -> io::Result<Self> {
        let weights = (0..WEIGHTS).map(|number| {
            let elements = 64 + u64::from(number) * 4;
            let octets = weights(elements, mix(seed, 1, u64::from(number)));
            Ok((keep(blobs, "model.safetensors", &octets)?, elements))
        });
        let configs = (0..CONFIGS).map(|number| {
            let labels = 2 + number;
            let text =
                format!("{{\"architectures\": [\"BertModel\"], \"hidden_size\": 256, \"num_labels\": {labels}}}\n");
            keep(blobs, "config.json", text.as_bytes())
        });
        Ok(Self { weights: weights.collect::<io::Result<_>>()?, configs: configs.collect::<io::Result<_>>()? })
    }

    /// The files of a version, in the order of their paths, and how many parameters they have.
    pub fn of_version(&self, chance: u64) -> (Vec<ArtifactRecord>, u64) {
        let pick = |len: usize, chance: u64| usize::try_from(chance % len.max(1) as u64).unwrap_or(0);
        let (weights, elements) = &self.weights[pick(self.weights.len(), chance)];
        let mut files = vec![weights.clone()];
        if chance.is_multiple_of(4) {
            files.insert(0, self.configs[pick(self.configs.len(), chance >> 16)].clone());
        }
        (files, *elements)
    }
}

/// A safetensors file of one tensor of F32.
fn weights(elements: u64, chance: u64) -> Vec<u8> {
    let header = format!(
        r#"{{"__metadata__":{{"format":"pt"}},"w":{{"dtype":"F32","shape":[{elements}],"data_offsets":[0,{}]}}}}"#,
        elements * 4
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    for element in 0..elements {
        // Every value is a number below 1: the top bits of the exponent are off.
        let bits = u32::try_from(mix(chance, 2, element) >> 40).unwrap_or(0);
        file.extend_from_slice(&(f32::from_bits(bits | 0x3f00_0000)).to_le_bytes());
    }
    file
}

fn keep(blobs: &dyn Blobs, path: &str, octets: &[u8]) -> io::Result<ArtifactRecord> {
    let inspection = inspect(&octets, path, &Ruleset::default(), &Limits::default())?;
    if inspection.verdict() != Verdict::Clean {
        return Err(io::Error::other(format!("{path} is not clean: {:?}", inspection.findings)));
    }
    let digest = Digest::from_hex(&sha256(octets)).map_err(io::Error::other)?;
    let mut staged = blobs.stage().map_err(io::Error::other)?;
    staged.write(octets).and_then(|()| staged.keep(&digest)).map_err(io::Error::other)?;
    Ok(ArtifactRecord {
        path: path.parse::<ArtifactPath>().map_err(io::Error::other)?,
        size: octets.len() as u64,
        digest,
        format: inspection.format.as_str().to_owned(),
        verdict: Some(inspection.verdict().as_str().to_owned()),
    })
}
