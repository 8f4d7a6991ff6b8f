// The engine's one exception type: a code that the server maps to a status, and a sentence for a person.
#pragma once
#include <source_location>
#include <stdexcept>
#include <string>

namespace npr {

enum class ErrorCode {
  invalid_checkpoint,  // a file of the model directory is not what it should be
  invalid_request,     // the caller asked for something that can't be
  context_length,      // a prompt that leaves no room in the model's context
  queue_full,          // the waiting queue is at its bound
  unavailable,         // loading, draining or closed
  out_of_memory,       // the machine can't hold what the settings ask for
  internal,            // a broken invariant of the engine itself
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::source_location at = std::source_location::current())
      : std::runtime_error(message), code_(code), at_(at) {}
  ErrorCode code() const { return code_; }
  const std::source_location& at() const { return at_; }

 private:
  ErrorCode code_;
  std::source_location at_;
};

// Throws ErrorCode::internal where an invariant of the engine does not hold.
inline void ensure(bool holds, const char* what, std::source_location at = std::source_location::current()) {
  if (!holds) throw Error(ErrorCode::internal, std::string("broken invariant: ") + what, at);
}

}  // namespace npr
