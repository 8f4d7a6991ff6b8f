#include "text/text_stream.h"

namespace npr::text {

std::string TextStream::push(std::string_view bytes) {
  std::string out;
  whole_.clear();
  characters_.push(bytes, whole_);
  matcher_.push(whole_, out);
  return out;
}

std::string TextStream::flush() {
  std::string out;
  whole_.clear();
  characters_.flush(whole_);
  matcher_.push(whole_, out);
  matcher_.flush(out);
  return out;
}

}  // namespace npr::text
