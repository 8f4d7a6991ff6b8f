#include "addon/fields.h"

namespace npr::addon {

[[noreturn]] void wrong(Napi::Env env, const std::string& key, const char* expected) {
  throw Napi::TypeError::New(env, key + " should be " + expected);
}

double number(Napi::Object object, const char* key, double least, double most) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) wrong(object.Env(), key, "a number");
  const double found = value.As<Napi::Number>().DoubleValue();
  if (!(found >= least && found <= most)) wrong(object.Env(), key, "a number in its range");
  return found;
}

uint32_t count(Napi::Object object, const char* key) {
  return static_cast<uint32_t>(number(object, key, 0, 4294967295.0));
}

float real(Napi::Object object, const char* key) { return static_cast<float>(number(object, key, -1e30, 1e30)); }

bool boolean(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBoolean()) wrong(object.Env(), key, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string string(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) wrong(object.Env(), key, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Array array(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsArray()) wrong(object.Env(), key, "an array");
  return value.As<Napi::Array>();
}

int32_t token(Napi::Value value, const char* key) {
  if (!value.IsNumber()) wrong(value.Env(), key, "made of token ids");
  const double found = value.As<Napi::Number>().DoubleValue();
  if (!(found >= 0 && found <= 2147483647.0)) wrong(value.Env(), key, "made of token ids");
  return static_cast<int32_t>(found);
}

std::vector<int32_t> tokens(Napi::Object object, const char* key) {
  const Napi::Array list = array(object, key);
  std::vector<int32_t> out(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) out[i] = token(list.Get(i), key);
  return out;
}

Napi::Object object_at(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsObject()) wrong(object.Env(), key, "an object");
  return value.As<Napi::Object>();
}

uint64_t bits64(Napi::Object object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBigInt()) wrong(object.Env(), key, "a bigint");
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

}  // namespace npr::addon
