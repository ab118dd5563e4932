"""The files that a published dataset is made of: given ones, or else downloaded ones.

This module does not import TensorFlow.
"""

import dataclasses
import os
import shutil
import sys

from datasets import downloads


@dataclasses.dataclass(frozen=True)
class SourceFiles:
    """Finds the files of a dataset, and downloads and unpacks what is missing.

    Attributes:
      source_dir: folder with all files, as published or unpacked; None downloads them.
      download_dir: folder for downloads and for what archives unpack to.
    """

    source_dir: str | None
    download_dir: str

    def get_file(self, url: str, md5: str | None = None) -> str:
        """Returns the path of a file.

        Args:
          url: where it was published. A given file may lack the ending .gz.
          md5: checksum of the published file, which downloads must have; given files
            may have any.

        Raises:
          OSError: if the file is missing, or cannot be downloaded; what a download that
            broke off has is kept, and the next one continues there.
        """
        name = downloads.get_file_name(url)
        if self.source_dir is not None:
            for known in (name, name.removesuffix(".gz")):
                path = os.path.join(self.source_dir, known)
                if os.path.isfile(path):
                    return path
            raise OSError(
                f"There is no {name} in --source_dir={self.source_dir}: put the file "
                f"of {url} there, or leave out --source_dir to download it."
            )
        path = os.path.join(self.download_dir, name)
        if not os.path.exists(path):
            print(f"Downloading {url}", file=sys.stderr, flush=True)
            try:
                downloads.download_url(url, self.download_dir, resume=True)
            except OSError as error:
                raise OSError(
                    f"{error} Run the same command again to continue, or fetch the "
                    "file yourself and give its folder with --source_dir."
                ) from error
        if md5 not in (None, downloads.compute_md5(path)):
            os.remove(path)
            raise OSError(
                f"What {url} gave has another checksum than the published file and was "
                "removed: run the same command again, or fetch the file yourself and "
                "give its folder with --source_dir."
            )
        return path

    def get_folder(self, url: str, name: str, md5: str | None = None) -> str:
        """Returns the path of a folder that an archive holds.

        Args:
          url: where the tar or zip archive was published.
          name: the folder in the archive. A given one may be unpacked already, in
            `source_dir`, or be `source_dir` itself.
          md5: see `get_file`.

        Raises:
          OSError: as for `get_file`, or if the archive is damaged or lacks the folder.
        """
        if self.source_dir is not None:
            own = os.path.abspath(self.source_dir)
            for path in (os.path.join(own, name), own):
                if os.path.basename(path) == name and os.path.isdir(path):
                    return path
        archive = self.get_file(url, md5)
        root = os.path.join(self.download_dir, f"{os.path.basename(archive)}.unpacked")
        if not os.path.isdir(root):
            _unpack(archive, root)
        path = os.path.join(root, name)
        if not os.path.isdir(path):
            raise OSError(
                f"{archive!r} holds no folder {name!r}: it is not the archive that was "
                f"published as {url}; replace it."
            )
        return path


def _unpack(archive: str, root: str) -> None:
    """Unpacks an archive into a new folder, which exists only once it is complete."""
    partial = f"{root}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    if archive.endswith(".zip"):
        downloads.unpack_zipfile(archive, partial)
    else:
        downloads.unpack_tarball(archive, partial, allow_links=False)
    os.rename(partial, root)
