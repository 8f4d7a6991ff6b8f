// Fields of JavaScript objects, by type. One of the wrong kind is a TypeError that names it.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace npr::addon {

[[noreturn]] void wrong(Napi::Env env, const std::string& key, const char* expected);

double number(Napi::Object object, const char* key, double least, double most);
uint32_t count(Napi::Object object, const char* key);
float real(Napi::Object object, const char* key);
bool boolean(Napi::Object object, const char* key);
std::string string(Napi::Object object, const char* key);
Napi::Array array(Napi::Object object, const char* key);
int32_t token(Napi::Value value, const char* key);
std::vector<int32_t> tokens(Napi::Object object, const char* key);
Napi::Object object_at(Napi::Object object, const char* key);
uint64_t bits64(Napi::Object object, const char* key);  // of a bigint

// A copy of a typed array, such as Napi::Int32Array; `expected`: its name with an article.
template <class Array>
auto typed_array(Napi::Object object, const char* key, napi_typedarray_type type, const char* expected) {
  const Napi::Value value = object.Get(key);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    wrong(object.Env(), key, expected);
  }
  const auto numbers = value.As<Array>();
  return std::vector(numbers.Data(), numbers.Data() + numbers.ElementLength());
}

}  // namespace npr::addon
