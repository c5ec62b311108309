use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

/// Entry of a certificate table: GUID, offset, length.
const TABLE_ENTRY_BYTES: usize = 24;

/// Plays the kernel: entries appear with their attributes, writes count.
#[derive(Default)]
struct FakeKernel {
    files: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
    provider: &'static str,
    aux: Vec<u8>,
    /// Writes somebody else makes between ours and the reading.
    foreign_writes: u64,
}

impl FakeKernel {
    fn snp() -> FakeKernel {
        FakeKernel { provider: "sev_guest\n", ..FakeKernel::default() }
    }

    fn put(&self, path: PathBuf, bytes: &[u8]) {
        self.files.borrow_mut().insert(path, bytes.to_vec());
    }
}

impl Tree for FakeKernel {
    fn is_folder(&self, _: &Path) -> bool {
        true
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if self.provider.is_empty() {
            return Err(io::Error::from_raw_os_error(ENXIO));
        }
        self.put(path.join("provider"), self.provider.as_bytes());
        self.put(path.join("generation"), b"0\n");
        if !self.aux.is_empty() {
            self.put(path.join("auxblob"), &self.aux);
        }
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.files.borrow_mut().retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let files = self.files.borrow();
        files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap();
        let mut report = vec![0; 1184];
        report[0] = 2;
        report[0x50..0x90].copy_from_slice(bytes);
        self.put(folder.join("outblob"), &report);
        let generation = format!("{}\n", 1 + self.foreign_writes);
        self.put(folder.join("generation"), generation.as_bytes());
        Ok(())
    }
}

fn tsm() -> ConfigfsTsm {
    ConfigfsTsm {
        root: PathBuf::from("/report"),
        kind: CpuTee::Snp,
        chip_id: String::new(),
        entries: AtomicU64::new(0),
        endorsements: Vec::new(),
    }
}

/// A certificate table over `certificates`, as a host lays it out.
fn table(certificates: &[&[u8]]) -> Vec<u8> {
    let header = (certificates.len() + 1) * TABLE_ENTRY_BYTES;
    let mut entries = Vec::new();
    let mut bodies: Vec<u8> = Vec::new();
    for certificate in certificates {
        entries.extend([0xaa; 16]);
        entries.extend(((header + bodies.len()) as u32).to_le_bytes());
        entries.extend((certificate.len() as u32).to_le_bytes());
        bodies.extend(*certificate);
    }
    entries.extend([0; TABLE_ENTRY_BYTES]);
    entries.extend(bodies);
    entries
}

#[test]
fn asks_with_the_data_given_and_leaves_no_entry_behind() {
    let kernel = FakeKernel { aux: table(&[b"vcek", b"ask"]), ..FakeKernel::snp() };
    let answer = tsm().ask(&kernel, &[7; 64]).unwrap();
    assert_eq!(answer.report[0x50..0x90], [7; 64]);
    assert_eq!(answer.endorsements, [b"vcek".to_vec(), b"ask".to_vec()]);
    assert_eq!(answer.kind, CpuTee::Snp);
    assert!(kernel.files.borrow().is_empty());
}

#[test]
fn a_provider_without_endorsements_is_no_error() {
    assert!(tsm().ask(&FakeKernel::snp(), &[0; 64]).unwrap().endorsements.is_empty());
}

#[test]
fn a_kernel_without_a_provider_is_no_tee() {
    let error = tsm().ask(&FakeKernel::default(), &[0; 64]).unwrap_err();
    assert!(matches!(error, AttesterError::NoTee { .. }), "{error}");
}

#[test]
fn a_machine_without_the_interface_is_no_tee() {
    let error = ConfigfsTsm::open(Path::new("/nonexistent/tsm/report")).unwrap_err();
    assert!(matches!(error, AttesterError::NoTee { .. }), "{error}");
}

#[test]
fn an_interface_that_cannot_be_used_is_not_taken_for_no_tee() {
    // An ordinary folder: entries can be made but grow no attributes.
    let root = std::env::temp_dir().join(format!("bulla-tsm-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let error = ConfigfsTsm::open(&root).unwrap_err();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "the entry is removed");
    fs::remove_dir(&root).unwrap();
    assert!(matches!(error, AttesterError::Interface { operation: "read", .. }), "{error}");
}

#[test]
fn notices_somebody_elses_write() {
    let kernel = FakeKernel { foreign_writes: 1, ..FakeKernel::snp() };
    let error = tsm().ask(&kernel, &[0; 64]).unwrap_err();
    assert_eq!(error, AttesterError::Conflict { expected: 1, got: 2 });
    assert!(kernel.files.borrow().is_empty(), "the entry is removed");
}

#[test]
fn refuses_a_provider_it_does_not_know() {
    let kernel = FakeKernel { provider: "arm_cca_guest\n", ..FakeKernel::snp() };
    let error = tsm().ask(&kernel, &[0; 64]).unwrap_err();
    let provider = "arm_cca_guest".to_owned();
    assert_eq!(error, AttesterError::UnknownProvider { provider });
}

#[test]
fn a_table_that_lies_about_its_lengths_gives_what_is_readable() {
    let good = table(&[b"vcek", b"ask"]);
    for at in 16..24 {
        let mut lying = good.clone();
        lying[at] = 0xff;
        assert!(certificate_table(&lying).len() <= 2, "byte {at}");
    }
    assert!(certificate_table(&good[..TABLE_ENTRY_BYTES * 2]).is_empty());
    assert!(certificate_table(&[]).is_empty());
}

#[test]
fn a_td_is_called_by_its_platform_certificate() {
    use crate::simulated_tee::Validity;
    use crate::simulated_tee::tdx::{Intel, TdTemplate, Window};
    let window = Window { issue_date: String::new(), next_update: String::new() };
    let td = TdTemplate::new(false);
    let mut intel = Intel::generate(Validity::years_from(0, 1), window, td).unwrap();
    let chain = intel.chain().unwrap();
    let answer = |intel: &Intel| Answer {
        kind: CpuTee::Tdx,
        report: intel.quote(&[7; 64], &chain).unwrap(),
        endorsements: Vec::new(),
    };
    assert_eq!(chip_id(&answer(&intel)).unwrap(), "c2".repeat(16));
    // Only named, not certified: type 3.
    intel.quote.certification = 3;
    assert_eq!(chip_id(&answer(&intel)).unwrap(), "");
}
