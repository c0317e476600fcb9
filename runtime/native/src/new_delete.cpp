// operator new and delete for the shared library alone, where the C++ runtime is linked into it on
// macOS (M3E_OWN_NEW): the runtime's are visible, and would replace those of the program.
#include <cstdlib>
#include <new>

namespace {

void* checked(void* memory) {
  if (!memory) throw std::bad_alloc();
  return memory;
}

void* aligned(std::size_t bytes, std::align_val_t alignment) {
  void* memory = nullptr;
  const auto at_least = static_cast<std::size_t>(alignment);
  const std::size_t boundary = at_least < sizeof(void*) ? sizeof(void*) : at_least;
  return checked(posix_memalign(&memory, boundary, bytes) == 0 ? memory : nullptr);
}

}  // namespace

void* operator new(std::size_t bytes) { return checked(std::malloc(bytes ? bytes : 1)); }
void* operator new[](std::size_t bytes) { return checked(std::malloc(bytes ? bytes : 1)); }
void* operator new(std::size_t bytes, std::align_val_t to) { return aligned(bytes, to); }
void* operator new[](std::size_t bytes, std::align_val_t to) { return aligned(bytes, to); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
