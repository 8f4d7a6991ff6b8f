#include "model/fields.h"

#include <cstdio>

#include "error.h"

namespace npr::model {
namespace {

std::string shortest(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", value);
  return digits;
}

}  // namespace

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is(Json::Kind::object))
    throw Error(ErrorCode::invalid_checkpoint, where_ + ": expected an object, found " + object.describe());
}

const Json* Fields::find(std::string_view key) const {
  const Json* value = object_.find(key);
  return value && !value->is(Json::Kind::null) ? value : nullptr;
}

void Fields::fail(std::string_view key, const std::string& expected) const {
  const Json* value = object_.find(key);
  throw Error(ErrorCode::invalid_checkpoint, where_ + ": " + std::string(key) + ": expected " + expected + ", found " +
                                                 (value ? value->describe() : "no such key"));
}

uint32_t Fields::count(std::string_view key, uint32_t least, uint32_t most) const {
  const Json* value = find(key);
  if (!value || !value->integer() || *value->integer() < least || *value->integer() > most)
    fail(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return static_cast<uint32_t>(*value->integer());
}

uint32_t Fields::count(std::string_view key, uint32_t least, uint32_t most, uint32_t otherwise) const {
  return find(key) ? count(key, least, most) : otherwise;
}

double Fields::number(std::string_view key, double least, double most) const {
  const Json* value = find(key);
  if (!value || !value->is(Json::Kind::number) || value->number() < least || value->number() > most)
    fail(key, "a number from " + shortest(least) + " to " + shortest(most));
  return value->number();
}

double Fields::number(std::string_view key, double least, double most, double otherwise) const {
  return find(key) ? number(key, least, most) : otherwise;
}

bool Fields::boolean(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is(Json::Kind::boolean)) fail(key, "true or false");
  return value->boolean();
}

std::string Fields::text(std::string_view key) const {
  const Json* value = find(key);
  if (!value || !value->is(Json::Kind::string)) fail(key, "a string");
  return value->string();
}

std::string Fields::text(std::string_view key, const std::string& otherwise) const {
  return find(key) ? text(key) : otherwise;
}

Fields Fields::section(std::string_view key) const {
  static const Json none = Json::parse("{}", "");
  const Json* value = find(key);
  return {value ? *value : none, where_ + ": " + std::string(key)};
}

}  // namespace npr::model
