//! Pictures handed out as dma-bufs.

use std::sync::Mutex;

use super::*;

/// What happens while a picture is exported, the first time.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// Hands out empty files, and remembers what of.
#[derive(Default)]
pub(super) struct FakeExporter(Mutex<Vec<(u64, u64)>>, Mutex<Option<Meanwhile>>);

impl FakeExporter {
    fn exported(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap().clone()
    }

    fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        *self.1.lock().unwrap() = Some(Box::new(what));
    }
}

impl std::fmt::Debug for FakeExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeExporter").field(&self.0).finish()
    }
}

impl ExportDmabuf for FakeExporter {
    fn export(
        &self,
        _: BorrowedFd<'_>,
        offset: u64,
        size: u64,
    ) -> Result<OwnedFd, rustix::io::Errno> {
        self.0.lock().unwrap().push((offset, size));
        let meanwhile = self.1.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        rustix::fs::memfd_create("dmabuf", rustix::fs::MemfdFlags::CLOEXEC)
    }
}

pub(super) fn dmabuf_of(view: &HeadView) -> Result<DmabufId, Errno> {
    let info = view.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY)?;
    match info.surface {
        GfxSurface::Dmabuf(id) => Ok(id),
        surface => panic!("a dma-buf was asked for: {surface:?}"),
    }
}

#[test]
fn dmabuf_is_made_once_a_picture_and_lives_from_the_query_to_the_fetch() {
    let exporter = Arc::new(FakeExporter::default());
    let mut bed = Bed::with_exporter(Some(exporter.clone()));
    let view = bed.view(1);
    assert_eq!(view.probe_gfx(GfxTransport::Dmabuf), Ok(()));
    let disabled = view.query_gfx_plane(GfxTransport::Dmabuf, PlaneType::PRIMARY);
    assert!(disabled.unwrap().is_disabled());
    bed.show(4096);
    let front = dmabuf_of(&view).unwrap();
    bed.flip(8192);
    let back = dmabuf_of(&view).unwrap();
    bed.flip(4096);
    assert_eq!(dmabuf_of(&view), Ok(front));
    assert_eq!(exporter.exported(), [(PAGE, PAGE), (2 * PAGE, PAGE)]);
    // The guest shows nothing any more, but the picture was promised.
    bed.words(0x960, [0; 4]);
    view.gfx_dmabuf(back).unwrap();
    view.gfx_dmabuf(back).unwrap();
    assert_eq!(view.gfx_dmabuf(DmabufId(0)).unwrap_err(), Errno::ENOENT);
}

#[test]
fn dmabuf_is_refused_for_a_picture_that_begins_within_a_page() {
    let exporter = Arc::new(FakeExporter::default());
    let bed = Bed::with_exporter(Some(exporter.clone()));
    let view = bed.view(1);
    bed.show(8);
    assert_eq!(dmabuf_of(&view), Err(Errno::EINVAL));
    query(&view, PlaneType::PRIMARY).unwrap();
    assert!(exporter.exported().is_empty());
}

#[test]
fn picture_that_is_cleared_while_it_is_exported_is_exported_again() {
    // Two that give the memory back and leave the picture on: another mode of head 0, and a restore.
    let set_mode = |device: &VgpuDevice, _: OwnedFd| {
        // Its fourth word: off, then on, which clears.
        for word in [0u16, 0x41] {
            let written = device.region_write(RegionIndex::BAR2, 0x508, &word.to_le_bytes());
            assert_eq!(written, Ok(2));
        }
    };
    let restore = |device: &VgpuDevice, saved: OwnedFd| {
        device.restore_state(saved.as_fd()).unwrap();
    };
    let clears: [fn(&VgpuDevice, OwnedFd); 2] = [set_mode, restore];
    for clear in clears {
        let exporter = Arc::new(FakeExporter::default());
        let bed = Bed::with_exporter(Some(exporter.clone()));
        let view = bed.view(1);
        // 64 by 64 pixels of 32 bits on head 0.
        for (word, value) in [(3, 32u16), (1, 64), (2, 64)] {
            bed.write(RegionIndex::BAR2, 0x500 + 2 * word, &value.to_le_bytes());
        }
        bed.show(0);
        let saved = bed.device.save_state().unwrap();
        bed.device.restore_state(saved.as_fd()).unwrap();
        let device = Arc::downgrade(&bed.device);
        exporter.meanwhile(move || clear(&device.upgrade().unwrap(), saved));
        let id = dmabuf_of(&view).unwrap();
        assert_eq!(
            exporter.exported().len(),
            2,
            "the first one has the old pages"
        );
        view.gfx_dmabuf(id).unwrap();
        assert_eq!(dmabuf_of(&view), Ok(id));
    }
}

#[test]
fn reset_takes_back_pictures_and_buffers_that_were_told_of() {
    let bed = Bed::with_exporter(Some(Arc::new(FakeExporter::default())));
    let view = bed.view(1);
    bed.show(0);
    let before = dmabuf_of(&view).unwrap();
    query(&view, PlaneType::PRIMARY).unwrap();
    bed.device.reset().unwrap();
    assert_eq!(read(&view, PRIMARY), Err(Errno::EINVAL));
    assert_eq!(view.gfx_dmabuf(before).unwrap_err(), Errno::ENOENT);
    bed.show(0);
    assert_ne!(dmabuf_of(&view).unwrap(), before);
}
