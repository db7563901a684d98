const box = document.querySelector('dialog');
for (const tile of document.querySelectorAll('.tile')) {
  tile.addEventListener('click', () => {
    const image = tile.querySelector('img');
    box.querySelector('img').src = image.src;
    box.querySelector('img').alt = image.alt;
    box.querySelector('p').textContent = image.alt;
    box.showModal();
  });
}
box.addEventListener('click', () => box.close());
addEventListener('beforeprint', () => {
  for (const part of document.querySelectorAll('details')) part.open = true;
});
