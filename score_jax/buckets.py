"""Folders in Google Cloud Storage, such as gs://BUCKET/RUN.

`etils.epath` gives them the methods of pathlib, through gcsfs; Orbax goes there
by TensorStore as well. An object is replaced in one piece or not at all. It
cannot grow, and a folder cannot be renamed.
"""

import base64
import functools
import hashlib
import importlib.util
import logging
import os
import re

from etils import epath
import fsspec
import tensorstore

READ = ('storage.objects.get', 'storage.objects.list')
WRITE = (*READ, 'storage.objects.create', 'storage.objects.delete')
_WAIT_S = 20  # For an answer at the door; later, the libraries try for longer.


def is_in(path: os.PathLike | str) -> bool:
  """Whether a path names a place in a bucket."""
  return str(path).startswith('gs://')


def folder(name: os.PathLike | str) -> epath.Path:
  """The folder of a bucket that a flag names; nothing is asked of it.

  Raises:
    ValueError: it is named wrongly, or gcsfs is not installed.
  """
  # gcsfs would take * ? [ ] for patterns, and delete whatever they fit.
  if not re.fullmatch(r'gs://[a-z0-9][a-z0-9._-]+(/+[^/*?\[\]\n]+)+/*',
                      str(name)):
    raise ValueError(f'{name}: a folder in a bucket is named gs://BUCKET/RUN, '
                     'without * ? [ ]')
  if importlib.util.find_spec('gcsfs') is None:
    raise ValueError(
        f"{name}: buckets need gcsfs; install it: pip install -e '.[gcs]'")
  # Else gcsfs asks by gRPC of which kind the bucket is, which not all may;
  # remembers what it listed, while Orbax and other hosts write; and logs a
  # traceback of every error.
  os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')
  fsspec.config.conf.setdefault('gcs', {})['use_listings_cache'] = False
  for library in 'gcsfs', 'fsspec':
    logging.getLogger(library).setLevel(logging.CRITICAL + 1)
  return epath.Path(name)


def check(path: epath.Path, permissions: tuple[str, ...]):
  """Asks whether the bucket is there, and lets us do what we want.

  Raises:
    ValueError: not so; it comes within seconds, and names the way out.
  """
  held = _permissions(path, permissions)
  missing = [name for name in permissions if name not in held]
  if missing:
    raise ValueError(
        f'{path}: there is no permission for {", ".join(missing)} in the '
        f'bucket; grant roles/storage.objectAdmin on gs://{path.parts[2]}')
  try:  # TensorStore finds credentials by itself, and not of all kinds.
    store = tensorstore.KvStore.open(f'{path}/').result()
    store.read('config.json').result(timeout=_WAIT_S)
  except Exception as error:  # Of many kinds.
    raise _unreached(path, error) from error


def _permissions(path, wanted) -> list[str]:
  """Those of `wanted` that we have."""
  from google.api_core import exceptions  # Which come with gcsfs.
  from google.auth import exceptions as auth_exceptions
  name = path.parts[2]
  try:
    return _client().bucket(name).test_iam_permissions(
        list(wanted), **_tries(_WAIT_S))
  except auth_exceptions.DefaultCredentialsError as error:
    raise ValueError(
        f'{path}: there are no credentials here; make some: gcloud auth '
        'application-default login') from error
  except exceptions.NotFound as error:
    raise ValueError(
        f'{path}: there is no bucket {name}; make it: gcloud storage buckets '
        f'create gs://{name}, or name another') from error
  except Exception as error:  # Of the network or of Google's, of many kinds.
    raise _unreached(path, error) from error


class Changed(Exception):
  """An object has another generation than the one that was asked for."""


def read_with_generation(
    path: epath.Path, patience_s: float
) -> tuple[bytes | None, int]:
  """Return an object and its generation; None and 0 if there is none.

  Args:
    path: of the object.
    patience_s: how long to try again while the bucket does not answer.
  """
  from google.api_core import exceptions  # Which come with gcsfs.
  while True:
    blob, tries = _blob(path), _tries(patience_s)
    try:
      blob.reload(**tries)
      content = blob.download_as_bytes(
          if_generation_match=blob.generation, **tries)
      return content, blob.generation
    except (exceptions.NotFound, exceptions.PreconditionFailed):
      if blob.generation is None:
        return None, 0
      # It was replaced between the two requests.


def write_if(
    path: epath.Path, content: bytes, generation: int, patience_s: float
) -> int:
  """Replace one generation of an object; return the new generation.

  Args:
    path: of the object.
    content: of the new one.
    generation: what is to be replaced; 0 where there is none.
    patience_s: how long to try again while the bucket does not answer.

  Raises:
    Changed: another generation is there, maybe of this very call, whose answer
      was lost.
  """
  from google.api_core import exceptions  # Which come with gcsfs.
  blob = _blob(path)
  try:
    blob.upload_from_string(
        content, if_generation_match=generation, **_tries(patience_s))
  except exceptions.PreconditionFailed as error:
    raise Changed(str(path)) from error
  return blob.generation


def _blob(path):
  _, _, name, *key = path.parts
  return _client().bucket(name).blob('/'.join(key))


def _tries(patience_s):
  from google.cloud.storage import retry  # Which comes with gcsfs.
  return {'timeout': _WAIT_S,
          'retry': retry.DEFAULT_RETRY.with_timeout(patience_s)}


def _client():
  """Google's own client, in whose requests a generation can be named."""
  return _client_of(os.environ.get('STORAGE_EMULATOR_HOST'))


@functools.cache
def _client_of(unused_host):
  from google.cloud import storage  # Which comes with gcsfs.
  return storage.Client(project='-')  # Any will do for a bucket.


def _unreached(path, error):
  return ValueError(
      f'{path}: the bucket cannot be reached ({reason(error)}); see to the '
      'network and to the credentials')


def reason(error: BaseException) -> str:
  """What a library says of a failure, in one line that is not too long."""
  words = ' '.join(str(error).split())
  return words[:300] or type(error).__name__


def read(path: epath.Path) -> bytes:
  """An object, by one request; FileNotFoundError if there is none."""
  return _gcsfs().cat_file(str(path))


def write(path: epath.Path, content: bytes):
  """Puts an object in place of another, by one request."""
  _gcsfs().pipe_file(str(path), content)


def digests(path: epath.Path) -> dict[str, str]:
  """MD5 in hex of every object in a folder, by its path there.

  The bucket keeps them, except of objects that were put together from parts:
  those are read.
  """
  _, _, *key = path.parts
  found = {}
  for name, about in _gcsfs().find(str(path), detail=True).items():
    inside = name.removeprefix('/'.join(key) + '/')
    if 'md5Hash' in about:
      found[inside] = base64.b64decode(about['md5Hash']).hex()
    else:
      with (path / inside).open('rb') as file:
        found[inside] = hashlib.file_digest(file, 'md5').hexdigest()
  return found


def _gcsfs():
  return fsspec.filesystem('gcs')
