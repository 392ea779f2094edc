//! The embedding model in 8 bits beside itself in 32.

use cervella::retrieval::Precision;

use crate::support::{embedder, handbook, root};

#[test]
fn vectors_of_8_bit_weights_are_those_of_the_model() {
    if handbook().is_none() {
        return;
    }
    let (Some(exact), Some(int8)) = (embedder(Precision::F32), embedder(Precision::Int8)) else { return };
    assert_ne!(exact.model().hash, int8.model().hash);
    let mut texts = Vec::new();
    for file in walkdir::WalkDir::new(root().join("knowledge")).sort_by_file_name().into_iter().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        texts.extend(text.split("\n\n").filter(|part| part.len() > 40).map(str::to_owned));
    }
    assert!(texts.len() > 50, "{} texts", texts.len());
    let (exact, int8) = (exact.passages(&texts).unwrap(), int8.passages(&texts).unwrap());
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosines: Vec<f32> = exact.iter().zip(&int8).map(cosine).collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let least = cosines.iter().copied().fold(1.0, f32::min);
    assert!(mean > 0.99 && least > 0.97, "mean {mean}, least {least} over {} texts", texts.len());
}
