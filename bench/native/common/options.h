// Command lines of the benchmarks.
#pragma once
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "compute/device.h"
#include "error.h"

namespace npr::bench {

class Options {
 public:
  // Options from argv[first] on; `values`: every one there is, with what it is where it is not given.
  // Throws Error(invalid_request) naming what is neither an option nor its value.
  Options(int argc, char** argv, int first, std::map<std::string, std::string> values) : values_(std::move(values)) {
    for (int i = first; i < argc; i += 2) {
      const auto option = values_.find(argv[i]);
      if (option == values_.end() || i + 1 == argc) {
        throw Error(ErrorCode::invalid_request, std::string(argv[i]) + ": expected an option and its value");
      }
      option->second = argv[i + 1];
    }
  }

  const std::string& text(const std::string& name) const { return values_.at(name); }
  uint32_t count(const std::string& name) const { return static_cast<uint32_t>(std::stoul(text(name))); }
  template <class T>
  std::vector<T> list(const std::string& name) const {
    std::vector<T> out;
    std::istringstream parts(text(name));
    for (std::string part; std::getline(parts, part, ',');) out.push_back(static_cast<T>(std::stol(part)));
    return out;
  }
  // From --device, --isa and --threads.
  compute::DeviceOptions device() const {
    const std::map<std::string, compute::Device> devices{{"cpu", compute::Device::cpu},
                                                         {"cuda", compute::Device::cuda}};
    const auto device = devices.find(text("--device"));
    if (device == devices.end()) throw Error(ErrorCode::invalid_request, "--device: expected cpu or cuda");
    const std::map<std::string, compute::Isa> isas{{"auto", compute::Isa::best},
                                                   {"amx", compute::Isa::amx},
                                                   {"avx512", compute::Isa::avx512},
                                                   {"avx2", compute::Isa::avx2},
                                                   {"plain", compute::Isa::plain}};
    const auto isa = isas.find(text("--isa"));
    if (isa == isas.end()) throw Error(ErrorCode::invalid_request, "--isa: expected auto, amx, avx512, avx2 or plain");
    const uint32_t given = count("--threads"), threads = given ? given : std::thread::hardware_concurrency();
    return {device->second, {threads, isa->second}};
  }
  std::vector<compute::WeightFormat> weights() const {
    const std::string& name = text("--weights");
    if (name == "bf16") return {compute::WeightFormat::bf16};
    if (name == "int8") return {compute::WeightFormat::int8};
    if (name == "bf16,int8") return {compute::WeightFormat::bf16, compute::WeightFormat::int8};
    throw Error(ErrorCode::invalid_request, "--weights: expected bf16, int8 or bf16,int8");
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace npr::bench
