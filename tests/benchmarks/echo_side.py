"""A side without libraries."""

from benchmarks import serve


class Echo:
  """Gives back what it is told."""

  def __init__(self, work):
    print('libraries print')
    self.work = work

  def versions(self):
    return {'echo': '1'}

  def say(self, text):
    return {'text': text, 'prompts': len(self.work.prompts)}

  def fail(self):
    raise OSError('no such thing')


if __name__ == '__main__':
  serve.serve(Echo)
