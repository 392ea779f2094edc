//! The models folder, and which of its files a setting means.
//! Nothing is fetched here; what is missing comes back as the command that fetches it.

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};

use directories::ProjectDirs;

use super::catalogue::{Catalogue, CatalogueEntry, Role};
use super::error::ModelsError;
use super::{gguf, runtime};

/// The setting that leaves the choice to us.
const AUTO: &str = "auto";
/// The embedding model that `auto` means.
const EMBEDDING_DEFAULT: &str = "multilingual-e5-small";
/// What an embedding model's folder must hold.
pub const EMBEDDING_FILES: [&str; 5] =
    ["model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];

/// The folder that holds the model files. It does not have to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsFolder {
    path: PathBuf,
}

/// Where models lie when no setting says otherwise: `$STATE_DIRECTORY/models` under systemd, else
/// `cervella/models` in the user's data folder.
///
/// # Errors
/// [`ModelsError::NoDefaultFolder`] when there is neither.
pub fn default_folder() -> Result<PathBuf, ModelsError> {
    if let Some(states) = env::var_os("STATE_DIRECTORY") {
        // systemd lists several folders separated by colons; the first is ours.
        if let Some(state) = env::split_paths(&states).find(|path| path.is_absolute()) {
            return Ok(state.join("models"));
        }
    }
    let project = ProjectDirs::from("", "", "cervella").ok_or(ModelsError::NoDefaultFolder)?;
    Ok(project.data_dir().join("models"))
}

impl ModelsFolder {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The GGUF file that writes the answers. `setting` is `auto` (the catalogue's best that is installed, else the
    /// only other GGUF file), a catalogue id, the name of a file in the folder, or a path.
    ///
    /// # Errors
    /// What is missing, with the command that fetches it; or what is wrong with the file that was found.
    pub fn resolve_answer(&self, setting: &str) -> Result<PathBuf, ModelsError> {
        if setting == AUTO {
            return self.best_answer();
        }
        if let Some(entry) = Catalogue::embedded().find(setting) {
            if entry.role != Role::Answer {
                return Err(ModelsError::WrongRole { id: entry.id.clone(), role: "answer" });
            }
            return self.catalogue_answer(entry)?.ok_or_else(|| self.not_installed(entry));
        }
        let path = self.named("answer", setting)?;
        gguf::check_header(&path)?;
        Ok(path)
    }

    /// The folder of the embedding model, with all of [`EMBEDDING_FILES`] in it. `setting` is `auto`, a catalogue
    /// id, the name of a folder in the models folder, or a path.
    ///
    /// # Errors
    /// The files that are missing, with the command that fetches them.
    pub fn resolve_embedding(&self, setting: &str) -> Result<PathBuf, ModelsError> {
        let id = if setting == AUTO { EMBEDDING_DEFAULT } else { setting };
        if let Some(entry) = Catalogue::embedded().find(id) {
            if entry.role != Role::Embedding {
                return Err(ModelsError::WrongRole { id: entry.id.clone(), role: "embedding" });
            }
            return self.catalogue_embedding(entry, setting);
        }
        self.own_folder("embedding", setting)
    }

    /// The folder of the model that puts hits in order; `None` where `setting` is empty, else a folder's name or path.
    ///
    /// # Errors
    /// There is no such folder, or it is not complete.
    pub fn resolve_reranker(&self, setting: &str) -> Result<Option<PathBuf>, ModelsError> {
        if setting.is_empty() { Ok(None) } else { self.own_folder("reranking", setting).map(Some) }
    }

    /// A complete folder with an ONNX model that the catalogue does not know.
    fn own_folder(&self, role: &'static str, setting: &str) -> Result<PathBuf, ModelsError> {
        let folder = self.named(role, setting)?;
        let missing = missing_files(&folder);
        if missing.is_empty() { Ok(folder) } else { Err(ModelsError::IncompleteOwn { role, folder, missing }) }
    }

    /// The shared library of ONNX Runtime, checked to be one that can be loaded here. `setting` is `auto` (the
    /// models folder, then `ORT_DYLIB_PATH`, then the system's library folders), `onnxruntime` (the models folder
    /// only), or a path.
    ///
    /// # Errors
    /// Which libraries were found and why they do not serve, with the command that fetches one.
    pub fn resolve_runtime(&self, setting: &str) -> Result<PathBuf, ModelsError> {
        let own = self.path.join("onnxruntime");
        match setting {
            AUTO => runtime::find(&own, &runtime::system_places()),
            "onnxruntime" => runtime::find(&own, &[]),
            path => runtime::check(&self.place(path)),
        }
    }

    /// Names of the GGUF files that lie in the folder itself, in alphabetical order. No folder, no names.
    pub(super) fn gguf_names(&self) -> Result<Vec<String>, ModelsError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ModelsError::Read { path: self.path.clone(), source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ModelsError::read(&self.path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(".gguf") && !name.starts_with('.') && entry.path().is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn best_answer(&self) -> Result<PathBuf, ModelsError> {
        for entry in Catalogue::embedded().of_role(Role::Answer) {
            if let Some(path) = self.catalogue_answer(entry)? {
                return Ok(path);
            }
        }
        let mut names = self.gguf_names()?;
        names.retain(|name| !gguf::is_split_name(name));
        match names.as_slice() {
            [] => Err(ModelsError::NoAnswerModel { folder: self.path.clone() }),
            [name] => {
                let path = self.path.join(name);
                gguf::check_header(&path)?;
                Ok(path)
            }
            _ => Err(ModelsError::ManyAnswerModels { folder: self.path.clone(), names }),
        }
    }

    /// The entry's file if it is there. A file of the wrong size is an error and not a reason to take a lesser
    /// model: a quiet change of model would look like bad answers.
    fn catalogue_answer(&self, entry: &CatalogueEntry) -> Result<Option<PathBuf>, ModelsError> {
        let [file] = entry.files.as_slice() else { return Ok(None) };
        let path = self.path.join(&file.path);
        if !path.is_file() {
            return Ok(None);
        }
        gguf::check_header(&path)?;
        let found = fs::metadata(&path).map_err(ModelsError::read(&path))?.len();
        match file.size_bytes {
            Some(expected) if expected != found => {
                Err(ModelsError::WrongSize { path, id: entry.id.clone(), expected, found })
            }
            _ => Ok(Some(path)),
        }
    }

    fn catalogue_embedding(&self, entry: &CatalogueEntry, setting: &str) -> Result<PathBuf, ModelsError> {
        // The full model and the demo's stand in the same folder, each in place of the other.
        let folder = self.path.join(EMBEDDING_DEFAULT);
        let missing = missing_files(&folder);
        if missing.is_empty() {
            Ok(folder)
        } else if missing.len() < EMBEDDING_FILES.len() {
            Err(ModelsError::IncompleteEmbedding { folder, missing, id: entry.id.clone() })
        } else if setting == AUTO {
            Err(ModelsError::NoEmbeddingModel { folder: self.path.clone() })
        } else {
            Err(self.not_installed(entry))
        }
    }

    /// A file or folder that a setting names by path, or by its name in the models folder.
    fn named(&self, role: &'static str, setting: &str) -> Result<PathBuf, ModelsError> {
        let path = self.place(setting);
        if path.exists() {
            Ok(path)
        } else {
            Err(ModelsError::UnknownModel { role, setting: setting.to_owned(), path })
        }
    }

    /// A bare name is one in the models folder; anything with a slash is a path.
    fn place(&self, setting: &str) -> PathBuf {
        let path = Path::new(setting);
        let mut parts = path.components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) if !setting.contains('/') => self.path.join(path),
            _ => path.to_path_buf(),
        }
    }

    fn not_installed(&self, entry: &CatalogueEntry) -> ModelsError {
        ModelsError::NotInstalled { id: entry.id.clone(), folder: self.path.clone() }
    }
}

fn missing_files(folder: &Path) -> Vec<String> {
    EMBEDDING_FILES.into_iter().filter(|name| !folder.join(name).is_file()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that starts like a GGUF of version 3, sparse up to `size_bytes`.
    fn put_gguf(folder: &ModelsFolder, name: &str, size_bytes: u64) {
        let mut header = b"GGUF".to_vec();
        header.extend(3_u32.to_le_bytes());
        header.extend([0; 16]);
        let path = folder.path().join(name);
        fs::write(&path, header).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size_bytes).unwrap();
    }

    fn put_embedding(folder: &ModelsFolder, name: &str, files: &[&str]) {
        let place = folder.path().join(name);
        fs::create_dir_all(&place).unwrap();
        for file in files {
            fs::write(place.join(file), "{}").unwrap();
        }
    }

    fn empty() -> (tempfile::TempDir, ModelsFolder) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = ModelsFolder::new(temporary.path().join("models"));
        fs::create_dir(folder.path()).unwrap();
        (temporary, folder)
    }

    fn file_name(path: &Path) -> &str {
        path.file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn an_empty_or_absent_folder_names_the_command() {
        let (_temporary, folder) = empty();
        let absent = ModelsFolder::new(folder.path().join("absent"));
        for folder in [folder, absent] {
            let answer = folder.resolve_answer("auto").unwrap_err().to_string();
            assert!(answer.contains("run `cervella models pull llama-3.1-8b`"), "{answer}");
            let embedding = folder.resolve_embedding("auto").unwrap_err().to_string();
            assert!(embedding.contains("run `cervella models pull multilingual-e5-small`"), "{embedding}");
            let runtime = folder.resolve_runtime("onnxruntime").unwrap_err().to_string();
            assert!(runtime.contains("run `cervella models pull onnxruntime`"), "{runtime}");
        }
    }

    #[test]
    fn auto_takes_the_largest_llama_that_is_installed() {
        let (_temporary, folder) = empty();
        put_gguf(&folder, "own.gguf", 100);
        assert_eq!(file_name(&folder.resolve_answer("auto").unwrap()), "own.gguf");
        put_gguf(&folder, "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432);
        assert_eq!(file_name(&folder.resolve_answer("auto").unwrap()), "SmolLM2-135M-Instruct.Q4_1.gguf");
        put_gguf(&folder, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464);
        put_gguf(&folder, "Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2_019_377_696);
        assert_eq!(file_name(&folder.resolve_answer("auto").unwrap()), "Llama-3.2-3B-Instruct-Q4_K_M.gguf");
    }

    #[test]
    fn auto_does_not_choose_between_models_it_does_not_know() {
        let (_temporary, folder) = empty();
        put_gguf(&folder, "a.gguf", 100);
        put_gguf(&folder, "big-00001-of-00002.gguf", 100);
        assert_eq!(file_name(&folder.resolve_answer("auto").unwrap()), "a.gguf");
        put_gguf(&folder, "b.gguf", 100);
        let message = folder.resolve_answer("auto").unwrap_err().to_string();
        assert!(message.contains("a.gguf, b.gguf"), "{message}");
    }

    #[test]
    fn a_model_cut_short_is_an_error_and_not_a_lesser_model() {
        let (_temporary, folder) = empty();
        put_gguf(&folder, "Llama-3.2-3B-Instruct-Q4_K_M.gguf", 1_000);
        put_gguf(&folder, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464);
        let message = folder.resolve_answer("auto").unwrap_err().to_string();
        assert!(message.contains("has 1000 bytes where llama-3.2-3b has 2019377696"), "{message}");
    }

    #[test]
    fn an_answer_model_is_named_by_id_by_file_or_by_path() {
        let (temporary, folder) = empty();
        put_gguf(&folder, "Llama-3.2-1B-Instruct-Q4_K_M.gguf", 807_694_464);
        put_gguf(&folder, "own.gguf", 100);
        assert_eq!(file_name(&folder.resolve_answer("llama-3.2-1b").unwrap()), "Llama-3.2-1B-Instruct-Q4_K_M.gguf");
        assert_eq!(file_name(&folder.resolve_answer("own.gguf").unwrap()), "own.gguf");
        let elsewhere = ModelsFolder::new(temporary.path().join("elsewhere"));
        let path = folder.path().join("own.gguf");
        assert_eq!(elsewhere.resolve_answer(path.to_str().unwrap()).unwrap(), path);

        let message = folder.resolve_answer("llama-3.1-8b").unwrap_err().to_string();
        assert!(message.contains("run `cervella models pull llama-3.1-8b`"), "{message}");
        let message = folder.resolve_answer("llama-4").unwrap_err().to_string();
        assert!(message.contains("`cervella models list`"), "{message}");
        let message = folder.resolve_answer("multilingual-e5-small").unwrap_err().to_string();
        assert_eq!(message, "`multilingual-e5-small` is no answer model");
    }

    #[test]
    fn the_missing_files_of_an_embedding_model_are_named() {
        let (_temporary, folder) = empty();
        put_embedding(&folder, "multilingual-e5-small", &EMBEDDING_FILES[..3]);
        let message = folder.resolve_embedding("auto").unwrap_err().to_string();
        assert!(message.contains("lacks special_tokens_map.json, tokenizer_config.json"), "{message}");
        put_embedding(&folder, "multilingual-e5-small", &EMBEDDING_FILES);
        assert_eq!(file_name(&folder.resolve_embedding("auto").unwrap()), "multilingual-e5-small");
        put_embedding(&folder, "own", &EMBEDDING_FILES);
        assert_eq!(file_name(&folder.resolve_embedding("own").unwrap()), "own");
    }
}
